//! Databases for a test: SQLite, and PostgreSQL where there is one.

#[path = "../../../tests/support/left_out.rs"]
mod left_out;

use countersign_stores::Place;
use left_out::left_out;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// Databases of this test's own: each with its folder, which goes with it.
pub(crate) async fn databases(name: &str) -> Vec<(Place, tempfile::TempDir)> {
    let folder = tempfile::tempdir().unwrap();
    let mut all = vec![(Place::sqlite(folder.path().join("accounts.db")), folder)];
    if let Ok(address) = std::env::var("COUNTERSIGN_TEST_POSTGRES") {
        let mut connection = PgConnection::connect(&address).await.unwrap();
        let name = format!("{name}_{}", std::process::id());
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
        let (front, socket) = (address.split("/postgres?").next().unwrap(), address.split_once('?').unwrap().1);
        all.push((Place::parse(&format!("{front}/{name}?{socket}")).unwrap(), tempfile::tempdir().unwrap()));
    } else {
        left_out("postgres", "over SQLite alone: no PostgreSQL, whose address COUNTERSIGN_TEST_POSTGRES would have");
    }
    for (place, _) in &all {
        place.migrate().await.unwrap();
    }
    all
}
