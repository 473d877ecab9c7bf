qscc$
GetBlockByNumber
goldenchannel
2