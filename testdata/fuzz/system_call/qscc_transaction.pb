qscce
GetTransactionByID
goldenchannel
@abababababababababababababababababababababababababababababababab