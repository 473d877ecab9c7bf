
_lifecycle$
QueryChaincodeDefinition

golden