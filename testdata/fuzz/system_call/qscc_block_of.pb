qscca
GetBlockByTxID
goldenchannel
@abababababababababababababababababababababababababababababababab