cscc
GetConfigBlock
goldenchannel 