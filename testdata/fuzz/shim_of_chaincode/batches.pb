
E/

a1(	

b(


c_implicit_org_Org1MSP("t:goldenchannel

a
b"t:goldenchannel
	Èdone"t:goldenchannel