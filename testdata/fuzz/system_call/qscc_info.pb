qscc
GetChainInfo
goldenchannel