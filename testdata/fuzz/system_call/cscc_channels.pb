cscc
GetChannels 