//! The queries of the hot paths use their indexes.

use super::*;
use crate::registry::{api_keys, devices, join_codes, usage};

#[tokio::test]
async fn hot_queries_use_indexes() {
    let expected = [
        (
            devices::DEVICE_BY_NAME,
            "sqlite_autoindex_devices_1 (name=?)",
        ),
        (devices::MARK_SEEN, "sqlite_autoindex_devices_1 (name=?)"),
        (
            join_codes::CODE_BY_ID,
            "sqlite_autoindex_join_codes_1 (id=?)",
        ),
        (
            join_codes::PRUNE_CODES,
            "idx_join_codes_expires (expires_at<?)",
        ),
        (api_keys::LIVE_KEYS_OF_USER, "idx_api_keys_user (user_id=?)"),
        (api_keys::TOUCH_KEY, "sqlite_autoindex_api_keys_1 (id=?)"),
        (
            usage::SUMMARY,
            "sqlite_autoindex_usage_hours_1 (user_id=? AND hour>?)",
        ),
        (usage::PRUNE, "idx_usage_hours_hour (hour<?)"),
    ];
    let registry = open_memory().await;
    for (query, index) in expected {
        let plan = registry
            .read(move |connection| {
                let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {query}"))?;
                // Left unbound the parameters are NULL, which plans the same.
                for at in 1..=explain.parameter_count() {
                    explain.raw_bind_parameter(at, rusqlite::types::Null)?;
                }
                let mut rows = explain.raw_query();
                let mut plan = String::new();
                while let Some(row) = rows.next()? {
                    plan.push_str(&row.get::<_, String>("detail")?);
                    plan.push('\n');
                }
                Ok(plan)
            })
            .await
            .expect(query);
        assert!(plan.contains(index), "{query}\n{plan}");
        let scans_events = plan.contains("SCAN e") || plan.contains("SCAN api_keys");
        assert!(!scans_events, "{query}\n{plan}");
    }
}
