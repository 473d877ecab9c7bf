//! Queries that a chaincode reads batch by batch.
//!
//! A module of its own because it is the one thing that a stream remembers of a transaction between two messages.
//!
//! Everything a query finds is read at once and handed out in batches; Fabric reads on as the chaincode asks. The
//! difference shows only to a chaincode that stops early, whose read set is larger here.
//!
//! Source: Fabric 3.1.5 `core/chaincode/query_response_generator.go`.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use prost::Message as _;

use crate::devnet::peer::context::Refused;
use crate::pb::protos::{QueryResponse, QueryResponseMetadata, QueryResultBytes};

/// How many results travel in one message.
const BATCH: usize = 100;
/// How many results a query has at most (`ledger.state.totalQueryLimit`).
pub(crate) const TOTAL_LIMIT: usize = 100_000;

/// The queries of one transaction that have more to give.
#[derive(Debug, Default)]
pub(crate) struct Queries {
    opened: u64,
    pending: HashMap<String, VecDeque<Bytes>>,
}

impl Queries {
    /// Begins a query that found `results`, and answers with the first batch.
    pub(crate) fn open(&mut self, results: impl IntoIterator<Item = Bytes>) -> QueryResponse {
        self.opened += 1;
        let id = self.opened.to_string();
        let mut results: VecDeque<_> = results.into_iter().take(TOTAL_LIMIT).collect();
        let response = batch(&id, &mut results);
        if response.has_more {
            self.pending.insert(id, results);
        }
        response
    }

    /// The only answer to a query for one page, whose next one begins at `bookmark`.
    pub(crate) fn page(&mut self, results: Vec<Bytes>, bookmark: String) -> QueryResponse {
        self.opened += 1;
        let fetched_records_count = i32::try_from(results.len()).unwrap_or(i32::MAX);
        let metadata = QueryResponseMetadata { fetched_records_count, bookmark };
        QueryResponse {
            results: results.into_iter().map(|result_bytes| QueryResultBytes { result_bytes }).collect(),
            has_more: false,
            id: self.opened.to_string(),
            metadata: metadata.encode_to_vec().into(),
        }
    }

    /// The next batch of a query.
    pub(crate) fn next(&mut self, id: &str) -> Result<QueryResponse, Refused> {
        let results = self.pending.get_mut(id).ok_or_else(|| Refused::new("query iterator not found"))?;
        let response = batch(id, results);
        if !response.has_more {
            self.pending.remove(id);
        }
        Ok(response)
    }

    /// Ends a query; one that has ended already is no error.
    pub(crate) fn close(&mut self, id: &str) -> QueryResponse {
        self.pending.remove(id);
        QueryResponse { id: id.to_owned(), ..QueryResponse::default() }
    }
}

fn batch(id: &str, results: &mut VecDeque<Bytes>) -> QueryResponse {
    let taken = results.drain(..results.len().min(BATCH));
    let taken = taken.map(|result_bytes| QueryResultBytes { result_bytes }).collect();
    QueryResponse { results: taken, has_more: !results.is_empty(), id: id.to_owned(), metadata: Bytes::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_end_where_the_results_end() {
        for (count, batches) in [(0, &[0][..]), (1, &[1]), (100, &[100]), (101, &[100, 1]), (200, &[100, 100])] {
            let mut queries = Queries::default();
            let mut response = queries.open((0..count).map(|_| Bytes::from_static(b"r")));
            let mut seen = vec![response.results.len()];
            while response.has_more {
                response = queries.next(&response.id).unwrap();
                seen.push(response.results.len());
            }
            assert_eq!(seen, batches, "for {count} results");
            assert_eq!(queries.next(&response.id), Err(Refused::new("query iterator not found")));
        }
    }

    #[test]
    fn a_closed_query_gives_nothing_more() {
        let mut queries = Queries::default();
        let first = queries.open((0..150).map(|_| Bytes::new()));
        assert!(!queries.close(&first.id).has_more);
        assert!(queries.next(&first.id).is_err());
        queries.close("no such query");
    }
}
