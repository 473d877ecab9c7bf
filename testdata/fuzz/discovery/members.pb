
¢"ü
ú
Org1MSPê
Ö

z*	
basic1.0"
 *

peer0.org1:7051pkiA
Org1MSP6-----BEGIN CERTIFICATE-----
-----END CERTIFICATE-----

Ö

z*
basic1.0"
 *

peer1.org1:8051pkiA
Org1MSP6-----BEGIN CERTIFICATE-----
-----END CERTIFICATE-----
