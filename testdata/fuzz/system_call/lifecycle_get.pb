
_lifecyclel
GetInstalledChaincodePackage
L
Jbasic_1.0:abababababababababababababababababababababababababababababababab 