
failed to endorse transactionl
'type.googleapis.com/gateway.ErrorDetailA
peer0.org2:9051Org2MSP%chaincode response 404, no such asset