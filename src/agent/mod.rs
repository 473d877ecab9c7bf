//! The daemon: carries out on one organization's nodes what the organizations have voted for.
