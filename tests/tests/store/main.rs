//! The stores, judged by one suite; and what is promised of the embedded one or of the shared one alone.

mod batches;
mod conditions;
mod contention;
mod crash;
mod crash_points;
mod files;
mod long_backlog;
mod outages;
mod plans;
mod random;
mod schema;
mod sharing;
mod steps;
mod subject;
mod tls;
mod withdrawn;
mod wrapping;

mod model {
    waxseal_tests::store_suite!(crate::subject::in_memory);
    waxseal_tests::cluster_suite!(crate::subject::shared_in_memory);
}

mod sqlite {
    waxseal_tests::store_suite!(crate::subject::sqlite);
}

mod postgres {
    waxseal_tests::store_suite!(crate::subject::postgres);
    waxseal_tests::cluster_suite!(crate::subject::shared_postgres);
}
