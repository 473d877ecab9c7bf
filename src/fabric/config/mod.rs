//! The configuration of a channel: organizations, policies, orderers.
