
_lifecycle&
CheckCommitReadiness
basic1.0