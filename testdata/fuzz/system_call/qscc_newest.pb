qscc7
GetBlockByNumber
goldenchannel
18446744073709551615