cscc
JoinChainBySnapshot
folder 