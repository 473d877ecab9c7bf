
_lifecycleg
QueryInstalledChaincode
L
Jbasic_1.0:abababababababababababababababababababababababababababababababab 