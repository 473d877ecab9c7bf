//! Queries that a chaincode reads batch by batch.
//!
//! A module of its own because it is the one thing that a stream remembers of a transaction between two messages.
//!
//! A query is read on as the chaincode asks: what it did not see is not part of what was read.
//!
//! Source: Fabric 3.1.5 `core/chaincode/query_response_generator.go`.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use prost::Message as _;

use crate::chaincode::KeyValue;
use crate::devnet::peer::context::{Cursor, Refused, TransactionContext};
use crate::pb::protos::{QueryResponse, QueryResponseMetadata, QueryResultBytes};
use crate::pb::queryresult;

/// How many results travel in one message.
const BATCH: usize = 100;
/// How many results a query has at most (`ledger.state.totalQueryLimit`).
pub(crate) const TOTAL_LIMIT: usize = 100_000;

/// Where a query's results come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// From the state, one by one.
    Cursor(Cursor),
    /// From elsewhere, all of them, encoded.
    Found(VecDeque<Bytes>),
}

impl Source {
    fn next(&mut self, context: &dyn TransactionContext) -> Result<Option<Bytes>, Refused> {
        match self {
            Self::Found(found) => Ok(found.pop_front()),
            Self::Cursor(cursor) => Ok(context.next(cursor)?.map(|entry| encoded(entry, context))),
        }
    }
}

fn encoded(entry: KeyValue, context: &dyn TransactionContext) -> Bytes {
    let namespace = context.namespace().to_owned();
    queryresult::Kv { namespace, key: entry.key, value: entry.value }.encode_to_vec().into()
}

/// A query that has more to give.
#[derive(Debug)]
struct Pending {
    source: Source,
    /// What was read and not given yet: it showed that there is more.
    ahead: Option<Bytes>,
    read: usize,
}

/// The queries of one transaction that have more to give.
#[derive(Debug, Default)]
pub(crate) struct Queries {
    opened: u64,
    pending: HashMap<String, Pending>,
}

impl Queries {
    /// Begins a query, and answers with the first batch.
    pub(crate) fn open(&mut self, source: Source, context: &dyn TransactionContext) -> Result<QueryResponse, Refused> {
        self.opened += 1;
        self.batch(self.opened.to_string(), Pending { source, ahead: None, read: 0 }, context)
    }

    /// The only answer to a query for one page of at most `size` results.
    pub(crate) fn page(
        &mut self,
        mut cursor: Cursor,
        size: usize,
        context: &dyn TransactionContext,
    ) -> Result<QueryResponse, Refused> {
        self.opened += 1;
        let mut results = Vec::new();
        while results.len() < size {
            match context.next(&mut cursor)? {
                Some(entry) => results.push(encoded(entry, context)),
                None => break,
            }
        }
        let bookmark = context.bookmark(&cursor)?;
        let fetched_records_count = i32::try_from(results.len()).unwrap_or(i32::MAX);
        let metadata = QueryResponseMetadata { fetched_records_count, bookmark };
        Ok(QueryResponse {
            results: results.into_iter().map(|result_bytes| QueryResultBytes { result_bytes }).collect(),
            has_more: false,
            id: self.opened.to_string(),
            metadata: metadata.encode_to_vec().into(),
        })
    }

    /// The next batch of a query.
    pub(crate) fn next(&mut self, id: &str, context: &dyn TransactionContext) -> Result<QueryResponse, Refused> {
        let pending = self.pending.remove(id).ok_or_else(|| Refused::new("query iterator not found"))?;
        self.batch(id.to_owned(), pending, context)
    }

    /// Ends a query; one that has ended already is no error.
    pub(crate) fn close(&mut self, id: &str) -> QueryResponse {
        self.pending.remove(id);
        QueryResponse { id: id.to_owned(), ..QueryResponse::default() }
    }

    fn batch(
        &mut self,
        id: String,
        mut pending: Pending,
        context: &dyn TransactionContext,
    ) -> Result<QueryResponse, Refused> {
        let mut results: Vec<_> = pending.ahead.take().into_iter().collect();
        while pending.read < TOTAL_LIMIT {
            let Some(result) = pending.source.next(context)? else { break };
            pending.read += 1;
            if results.len() == BATCH {
                pending.ahead = Some(result);
                break;
            }
            results.push(result);
        }
        let results = results.into_iter().map(|result_bytes| QueryResultBytes { result_bytes }).collect();
        let has_more = pending.ahead.is_some();
        if has_more {
            self.pending.insert(id.clone(), pending);
        }
        Ok(QueryResponse { results, has_more, id, metadata: Bytes::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devnet::peer::shim::tests::Memory;

    fn results(count: usize) -> Source {
        Source::Found((0..count).map(|_| Bytes::from_static(b"r")).collect())
    }

    #[test]
    fn batches_end_where_the_results_end() {
        let context = Memory::default();
        for (count, batches) in [(0, &[0][..]), (1, &[1]), (100, &[100]), (101, &[100, 1]), (200, &[100, 100])] {
            let mut queries = Queries::default();
            let mut response = queries.open(results(count), &context).unwrap();
            let mut seen = vec![response.results.len()];
            while response.has_more {
                response = queries.next(&response.id, &context).unwrap();
                seen.push(response.results.len());
            }
            assert_eq!(seen, batches, "for {count} results");
            let again = queries.next(&response.id, &context);
            assert_eq!(again, Err(Refused::new("query iterator not found")));
        }
    }

    #[test]
    fn a_closed_query_gives_nothing_more() {
        let (mut queries, context) = (Queries::default(), Memory::default());
        let first = queries.open(results(150), &context).unwrap();
        assert!(!queries.close(&first.id).has_more);
        assert!(queries.next(&first.id, &context).is_err());
        queries.close("no such query");
    }
}
