//! Opening the database: pragmas, recognition, damage check, migrations.

use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt as _, path::Path};

use rusqlite::{Connection, OpenFlags};

use super::QueueError;

/// Marks a SQLite file as ours (`PRAGMA application_id`): the letters `phot`.
const APPLICATION_ID: i64 = 0x7068_6f74;

/// One entry per version of the file format, in order; the first makes version 1.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_queues.sql"),
    include_str!("migrations/0002_tickets.sql"),
];

/// Opens the writer's connection: creates the file if there is none, checks it, migrates it.
pub(super) fn open_writer(path: &Path) -> Result<Connection, QueueError> {
    if path.exists() {
        // By a connection that only reads: one that may write would change a damaged file when it
        // sets the journal mode, and again when it closes and copies the log back.
        check_file(path)?;
    }
    if !path.exists() {
        // For its owner alone: it holds photos of people. SQLite gives its log the same mode.
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        options.open(path)?;
    }
    let mut connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(|error| cannot_read(path, &error))?;
    configure_writer(&connection).map_err(|error| cannot_read(path, &error))?;
    migrate(path, &mut connection, MIGRATIONS)?;
    Ok(connection)
}

/// Opens one more connection that can only read.
pub(super) fn open_reader(path: &Path) -> Result<Connection, QueueError> {
    let open = || {
        let connection = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "cache_size", -1024)?;
        Ok(connection)
    };
    open().map_err(|error| cannot_read(path, &error))
}

/// Recognises the file and runs `quick_check` on it, without changing it.
pub(super) fn check_file(path: &Path) -> Result<(), QueueError> {
    let connection = open_reader(path)?;
    recognise(path, &connection)?;
    check_whole(path, &connection)
}

fn configure_writer(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A commit returns only after the log has reached the disk: the promise of this module.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // 16 MiB of pages: the newest part of each table stays in memory under load.
    connection.pragma_update(None, "cache_size", -16 * 1024)?;
    // Copying the log back costs two syncs, so it is done every 32 MiB, not every 4.
    connection.pragma_update(None, "wal_autocheckpoint", 8192)?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn recognise(path: &Path, connection: &Connection) -> Result<(), QueueError> {
    let pragma = |name| {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .map_err(|error| cannot_read(path, &error))
    };
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    let empty = pragma("schema_version")? == 0;
    if application != APPLICATION_ID && !empty {
        return Err(QueueError::Foreign {
            path: path.to_owned(),
            detail: format!("its application id is {application:#x}"),
        });
    }
    let known = MIGRATIONS.len() as i64;
    if version > known {
        return Err(QueueError::Newer {
            path: path.to_owned(),
            found: version,
            known,
        });
    }
    Ok(())
}

fn check_whole(path: &Path, connection: &Connection) -> Result<(), QueueError> {
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| cannot_read(path, &error))?;
    if found == "ok" {
        return Ok(());
    }
    Err(QueueError::Damaged {
        path: path.to_owned(),
        detail: found,
    })
}

/// Brings the file to the newest version, one transaction per step. A file that holds something is
/// copied first, so that a failed upgrade can be undone by hand.
fn migrate(
    path: &Path,
    connection: &mut Connection,
    migrations: &[&str],
) -> Result<(), QueueError> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > 0 && version < migrations.len() as i64 {
        let backup = path.with_extension(format!("v{version}.backup.db"));
        if !backup.exists() {
            connection.execute("VACUUM INTO ?1", [backup.to_string_lossy()])?;
        }
    }
    for (number, sql) in migrations.iter().enumerate().skip(version as usize) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", number as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

/// SQLite says "not a database" and "malformed" by error codes when a file is opened.
fn cannot_read(path: &Path, error: &rusqlite::Error) -> QueueError {
    let (path, detail) = (path.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => QueueError::Foreign { path, detail },
        Some(rusqlite::ErrorCode::DatabaseCorrupt) => QueueError::Damaged { path, detail },
        _ => QueueError::Storage(format!("{}: {detail}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("photog.db");
        (folder, path)
    }

    #[test]
    fn the_database_and_its_log_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let (folder, path) = scratch();
        let _connection = open_writer(&path).unwrap();
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let mode = file.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0);
        }
    }

    #[test]
    fn a_newer_file_is_refused_and_left_alone() {
        let (_folder, path) = scratch();
        let connection = open_writer(&path).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        drop(connection);
        let before = std::fs::read(&path).unwrap();
        let error = open_writer(&path).unwrap_err();
        assert!(
            matches!(error, QueueError::Newer { found: 99, .. }),
            "{error}"
        );
        assert!(
            error.to_string().contains("Use the newer photog"),
            "{error}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn files_of_others_are_refused_and_left_alone() {
        let (_folder, path) = scratch();
        std::fs::write(
            &path,
            "not a database at all, but long enough to have a header".repeat(40),
        )
        .unwrap();
        let before = std::fs::read(&path).unwrap();
        assert!(matches!(
            open_writer(&path),
            Err(QueueError::Foreign { .. })
        ));
        assert_eq!(std::fs::read(&path).unwrap(), before);

        let (_folder, path) = scratch();
        Connection::open(&path)
            .unwrap()
            .execute_batch("CREATE TABLE other (x)")
            .unwrap();
        assert!(matches!(
            open_writer(&path),
            Err(QueueError::Foreign { .. })
        ));
    }

    #[test]
    fn a_damaged_page_is_found_at_the_start_and_nothing_is_replaced() {
        let (_folder, path) = scratch();
        let connection = open_writer(&path).unwrap();
        connection
            .execute_batch(
                "INSERT INTO queue VALUES (1, 's', 'source', 0, 5000);
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
                 INSERT INTO entry SELECT 1, i, 0, 'request', NULL, NULL, i, 0, 0 FROM n;",
            )
            .unwrap();
        drop(connection);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2 / 4096 * 4096;
        bytes[middle..middle + 4096].fill(0xa5);
        std::fs::write(&path, &bytes).unwrap();
        let error = open_writer(&path).unwrap_err();
        assert!(matches!(error, QueueError::Damaged { .. }), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }

    #[test]
    fn an_upgrade_keeps_a_copy_of_what_was_there() {
        let (folder, path) = scratch();
        drop(open_writer(&path).unwrap());
        let mut connection = Connection::open(&path).unwrap();
        let with = |step| [MIGRATIONS, &[step]].concat();
        // STRICT needs a type, so this step fails and the file stays at its version.
        let steps = with("CREATE TABLE later (x) STRICT");
        assert!(migrate(&path, &mut connection, &steps).is_err());
        let steps = with("CREATE TABLE later (x INTEGER) STRICT");
        migrate(&path, &mut connection, &steps).unwrap();
        let version: i64 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap();
        let before = MIGRATIONS.len();
        assert_eq!(version, before as i64 + 1);
        let backup = format!("photog.v{before}.backup.db");
        assert!(folder.path().join(backup).exists());
    }

    #[test]
    fn a_file_of_the_first_version_is_brought_up_and_keeps_its_entries() {
        let (folder, path) = scratch();
        let mut connection = Connection::open(&path).unwrap();
        migrate(&path, &mut connection, &MIGRATIONS[..1]).unwrap();
        connection
            .execute_batch(
                "INSERT INTO queue VALUES (1, 's', 'source', 0, 7);
                 INSERT INTO entry VALUES (1, 7, 0, 'request', NULL, NULL, 1, 0, 0);",
            )
            .unwrap();
        drop(connection);
        let connection = open_writer(&path).unwrap();
        let number =
            |query: &str| -> i64 { connection.query_row(query, [], |row| row.get(0)).unwrap() };
        assert_eq!(number("SELECT idx FROM entry"), 7);
        assert_eq!(number("SELECT count(*) FROM ticket"), 0);
        assert!(folder.path().join("photog.v1.backup.db").exists());
    }
}
