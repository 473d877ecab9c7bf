
_lifecycle2
"ApproveChaincodeDefinitionForMyOrg
fresh1