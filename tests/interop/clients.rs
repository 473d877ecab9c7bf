//! Fabric's own client libraries, as applications use them.

use crate::embedded::Embedded;
use crate::node::Node;
