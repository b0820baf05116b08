//! DynamoDB, S3 and SQS on this machine: MiniStack, from the project's Python environment.
//! Kinesis is our own: [`crate::kinesis`].

use crate::endpoints::{
    ARCHIVE_BUCKET, FAILED_BUCKET, PLUGIN_BUCKET, REGION, REGISTRY_TABLE, TEST_CREDENTIAL,
};
use crate::process::{Child, Spec, free_port};
use anyhow::{Context as _, Result, bail};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

const READY: Duration = Duration::from_secs(60);

/// The running emulator.
pub(crate) struct Emulator {
    pub(crate) child: Child,
    pub(crate) port: u16,
    pub(crate) url: String,
}

impl Emulator {
    /// Starts it with its state in `data_dir` and makes what the platform needs.
    pub(crate) async fn start(data_dir: &Path, log_dir: &Path) -> Result<Self> {
        let program = find()?;
        let state = data_dir.join("emulator");
        let folder = |name: &str| -> Result<String> {
            let path = state.join(name);
            std::fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
            path.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()))
        };
        let port = free_port()?;
        let env = [
            ("BIND_HOST", "127.0.0.1".to_owned()),
            ("GATEWAY_PORT", port.to_string()),
            ("MINISTACK_REGION", REGION.into()),
            ("LOG_LEVEL", "WARNING".into()),
            ("SERVICES", "dynamodb,s3,sqs".into()),
            ("PERSIST_STATE", "1".into()),
            ("STATE_DIR", folder("state")?),
            ("S3_PERSIST", "1".into()),
            ("S3_DATA_DIR", folder("s3")?),
            // Its pid file is named by port only.
            ("TMPDIR", folder("tmp")?),
        ];
        let spec = Spec {
            name: "AWS emulator".into(),
            program,
            args: Vec::new(),
            env: env.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
            clear_env: false,
            dir: state,
            log: log_dir.join("emulator.log"),
        };
        let child = Child::spawn(&spec).await?;
        let url = format!("http://127.0.0.1:{port}");
        let http = reqwest::Client::new();
        let health = format!("{url}/_ministack/health");
        let up = || async { http.get(&health).send().await.is_ok_and(|r| r.status().is_success()) };
        child.until_ready(READY, up).await?;
        make_table(&http, &url).await?;
        for bucket in [PLUGIN_BUCKET, FAILED_BUCKET, ARCHIVE_BUCKET] {
            make_bucket(&http, &url, bucket).await?;
        }
        Ok(Self { child, port, url })
    }
}

/// Makes the registry's table, as the SAM template does.
async fn make_table(http: &reqwest::Client, url: &str) -> Result<()> {
    let table = json!({
        "TableName": REGISTRY_TABLE,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        "KeySchema": [
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
    });
    let request = http
        .post(url)
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-target", "DynamoDB_20120810.CreateTable")
        .header("authorization", authorization("dynamodb"))
        .body(table.to_string());
    let response = request.send().await.context("make the registry's table")?;
    let (status, text) = (response.status(), response.text().await.unwrap_or_default());
    if status.is_success() || text.contains("ResourceInUseException") {
        return Ok(());
    }
    bail!("make the registry's table: {status}: {text}")
}

async fn make_bucket(http: &reqwest::Client, url: &str, bucket: &str) -> Result<()> {
    let request = http.put(format!("{url}/{bucket}")).header("authorization", authorization("s3"));
    let response = request.send().await.with_context(|| format!("make the bucket {bucket}"))?;
    let status = response.status();
    // 409: it is there.
    if status.is_success() || status == reqwest::StatusCode::CONFLICT {
        return Ok(());
    }
    bail!("make the bucket {bucket}: {status}: {}", response.text().await.unwrap_or_default())
}

/// The emulator reads the service and the region from the header and checks no signature.
fn authorization(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={TEST_CREDENTIAL}/20260101/{REGION}/{service}/aws4_request, \
         SignedHeaders=host, Signature=none"
    )
}

/// The emulator's program: in `EAVES_VENV`, or in a `.venv` above the running program or
/// the working folder.
fn find() -> Result<PathBuf> {
    let inside = |folder: &Path| Some(folder.join("bin/ministack")).filter(|p| p.is_file());
    if let Some(venv) = std::env::var_os("EAVES_VENV").filter(|v| !v.is_empty()) {
        let venv = PathBuf::from(venv);
        return inside(&venv).with_context(|| {
            format!(
                "EAVES_VENV={} has no AWS emulator: run `make setup`, or unset EAVES_VENV",
                venv.display()
            )
        });
    }
    let starts = [std::env::current_exe().ok(), std::env::current_dir().ok()];
    let folders = starts.iter().flatten().flat_map(|start| start.ancestors());
    let found = folders.map(|folder| folder.join(".venv")).find_map(|venv| inside(&venv));
    found.context(
        "the AWS emulator is not installed: run `make setup` in the Eaves repository, or set EAVES_VENV to a Python \
         environment that has ministack",
    )
}
