
75

Org1MSP	
Org1MSP

OrdererMSP

orderer0Š7