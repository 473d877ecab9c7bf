

k"another:goldenchannel
ÿÿ"t:goldenchannel
x"t:goldenchannel
	Èdone"t:goldenchannel