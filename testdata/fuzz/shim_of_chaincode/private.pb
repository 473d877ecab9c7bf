
 	

kvc1"t:goldenchannel
0
k_implicit_org_Org1MSP"t:goldenchannel
0
k_implicit_org_Org1MSP"t:goldenchannel
0

k_implicit_org_Org2MSP"t:goldenchannel
0
k_implicit_org_Org1MSP"t:goldenchannel
3	
kv_implicit_org_Org1MSP"t:goldenchannel
	Èdone"t:goldenchannel