
2È"t2
goldentE"payload:goldenchannel