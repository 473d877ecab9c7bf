


basickv1"@abababababababababababababababababababababababababababababababab:	mychannel