

Read
a1"@abababababababababababababababababababababababababababababababab*p
k
[
"	mychannelJ
A
Org1MSP6-----BEGIN CERTIFICATE-----
-----END CERTIFICATE-----
nonce


Read
a1s:	mychannel