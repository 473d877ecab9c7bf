
_lifecycle.
 QueryApprovedChaincodeDefinition


golden