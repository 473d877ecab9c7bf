cscc!
GetChannelConfig
goldenchannel 