//! The names of all known fields: which ones are read, which ones have no effect here and why,
//! and under which other names they are known.
//!
//! Paths are written with dots. A dot may stand between two nested objects or inside one member
//! name (`metadata.eas.termination_grace_period` is a member with two dots in the cloud); both
//! forms are read.

/// What is known about the members of one object and of the objects below it.
pub(super) struct Schema {
    /// Fields that have an effect.
    pub read: &'static [&'static str],
    /// Objects that hold such fields, so that another type there is a mistake.
    pub objects: &'static [&'static str],
    /// Fields, or whole objects, that have no effect, with the reason.
    pub reported: &'static [(&'static str, &'static str)],
    /// Other name, name in the cloud's documentation. Both may be objects.
    pub aliases: &'static [(&'static str, &'static str)],
}

/// Member names that contain dots in the cloud's own spelling.
pub(super) const DOTTED_NAMES: [&str; 2] = [
    "eas.termination_grace_period",
    "eas.aliyun.com/extra-ephemeral-storage",
];

/// An object that is taken from one spelling as a whole, never mixed from two.
pub(super) const WHOLE: &str = "autoscaler";

const HARDWARE: &str = "the machine's own hardware is used";
const NETWORK: &str = "the machine's own network is used";
const ONE_PROCESS: &str = "all slots live in this one process";
const UPDATE: &str = "a changed service takes effect when the program starts again";
const BATCHING: &str = "every entry is worked on by itself";
const UNDOCUMENTED: &str = "its meaning in the cloud is not documented";
const NO_IMAGE: &str = "no image is pulled, the engine is built in";
const NO_PROCESSOR: &str = "the portrait services run from images, not processors";

/// The document itself.
pub(super) const ROOT: Schema = Schema {
    read: &[
        "metadata.name",
        "metadata.type",
        "metadata.workload_type",
        "metadata.instance",
        "metadata.photog_role",
        "metadata.photog_echo_ms",
        "metadata.photog_slot_memory_mib",
        "metadata.rpc.keepalive",
        "metadata.rpc.worker_threads",
        "metadata.rpc.rate_limit",
        "queue.memory",
        "queue.max_delivery",
        "queue.dead_message_policy",
        "queue.group_grace_seconds",
        "queue.source.max_payload_size_kb",
        "queue.source.max_entries",
        "queue.source.auto_evict",
        "queue.sink.max_payload_size_kb",
        "queue.sink.max_entries",
        "queue.sink.auto_evict",
        "queue.sink.memory_ratio",
        "autoscaler.min",
        "autoscaler.max",
        "autoscaler.strategies.*",
        "autoscaler.behavior.scaleUp.stabilizationWindowSeconds",
        "autoscaler.behavior.scaleDown.stabilizationWindowSeconds",
        "autoscaler.behavior.onZero.scaleDownGracePeriodSeconds",
        "autoscaler.behavior.onZero.scaleUpActivationReplicas",
        "networking.gateway_policy.rate_limit.enable",
        "networking.gateway_policy.rate_limit.limit",
        "networking.gateway_policy.concurrency_limit.enable",
        "networking.gateway_policy.concurrency_limit.limit",
        "features.eas.aliyun.com/extra-ephemeral-storage",
        "storage",
        "containers",
        "token",
    ],
    objects: &[
        "metadata",
        "metadata.rpc",
        "queue",
        "queue.source",
        "queue.sink",
        "autoscaler",
        "autoscaler.strategies",
        "autoscaler.behavior",
        "autoscaler.behavior.scaleUp",
        "autoscaler.behavior.scaleDown",
        "autoscaler.behavior.onZero",
        "networking",
        "networking.gateway_policy",
        "networking.gateway_policy.rate_limit",
        "networking.gateway_policy.concurrency_limit",
        "features",
    ],
    reported: &[
        (
            "metadata.workload_type",
            "only `elasticjob` together with the type `Async` has an effect",
        ),
        ("metadata.cpu", HARDWARE),
        ("metadata.gpu", HARDWARE),
        ("metadata.memory", HARDWARE),
        ("metadata.gpu_memory", HARDWARE),
        ("metadata.gpu_core_percentage", HARDWARE),
        ("metadata.cuda", HARDWARE),
        ("metadata.rdma", HARDWARE),
        ("metadata.shm_size", HARDWARE),
        ("metadata.qos", ONE_PROCESS),
        ("metadata.resource", ONE_PROCESS),
        ("metadata.workspace_id", ONE_PROCESS),
        ("metadata.resource_burstable", ONE_PROCESS),
        ("metadata.resource_rebalancing", ONE_PROCESS),
        ("metadata.scheduling.spread.policy", ONE_PROCESS),
        (
            "metadata.enable_grpc",
            "the queue speaks HTTP and WebSocket",
        ),
        (
            "metadata.enable_webservice",
            "the program's own web page serves all services",
        ),
        ("metadata.rolling_strategy.max_surge", UPDATE),
        ("metadata.rolling_strategy.max_unavailable", UPDATE),
        (
            "metadata.eas.termination_grace_period",
            "not applied: work is never cut off by scale-in",
        ),
        (
            "metadata.rpc.max_queue_size",
            "the durable queue is limited by the fields of `queue`",
        ),
        (
            "metadata.rpc.io_threads",
            "the program chooses its own number of network threads",
        ),
        (
            "metadata.rpc.enable_sigterm",
            "slots are threads and get no signals",
        ),
        ("metadata.rpc.batching", BATCHING),
        ("metadata.rpc.max_batch_size", BATCHING),
        ("metadata.rpc.max_batch_timeout", BATCHING),
        ("metadata.rpc.disable_auto_queue_watch", UNDOCUMENTED),
        ("metadata.rpc.retries", UNDOCUMENTED),
        ("metadata.rpc.health_check_path", UNDOCUMENTED),
        ("metadata.rpc.health_check_port", UNDOCUMENTED),
        ("metadata.rpc.enable_service_hang_detect", UNDOCUMENTED),
        ("metadata.rpc.service_hang_detect_period", UNDOCUMENTED),
        ("queue.cpu", "the queue has no cores of its own"),
        ("queue.min_replica", "there is one queue store per service"),
        ("queue.resource", "the queue runs inside this process"),
        (
            "queue.max_idle",
            "an entry is handed back only when its consumer is lost or hands it back",
        ),
        (
            "queue.source.memory_ratio",
            "the input queue gets what `queue.sink.memory_ratio` leaves",
        ),
        (
            "autoscaler.behavior.onZero.interceptTraffic",
            "the queue holds requests while slots start",
        ),
        ("cloud", "nothing is rented in a cloud"),
        ("cloud.computing.instance_type", HARDWARE),
        ("cloud.computing.instances", HARDWARE),
        ("cloud.networking", NETWORK),
        ("cloud.networking.vpc_id", NETWORK),
        ("networking", NETWORK),
        ("features", "a switch of the cloud's machines"),
        ("dockerAuth", NO_IMAGE),
        ("labels", "labels sort services in the cloud's console"),
        ("aimaster", ONE_PROCESS),
        ("unit", ONE_PROCESS),
        ("sinker", "results stay in the sink queue"),
        ("confidential", "there is no encrypted runtime"),
        ("runtime", UNDOCUMENTED),
        ("processor", NO_PROCESSOR),
        ("processor_path", NO_PROCESSOR),
        ("processor_entry", NO_PROCESSOR),
        ("processor_mainclass", NO_PROCESSOR),
        ("processor_type", NO_PROCESSOR),
        ("model_path", NO_PROCESSOR),
        ("model_entry", NO_PROCESSOR),
        ("model_config", NO_PROCESSOR),
        ("warm_up_data_path", NO_PROCESSOR),
        ("oss_endpoint", "storage is a local folder"),
        (
            "front_end",
            "a Scalable Job here has no front end of its own",
        ),
    ],
    aliases: &[
        ("name", "metadata.name"),
        ("rpc", "metadata.rpc"),
        ("metadata.worker_threads", "metadata.rpc.worker_threads"),
        ("metadata.workers", "metadata.rpc.worker_threads"),
        ("metadata.max_queue_size", "metadata.rpc.max_queue_size"),
        ("metadata.autoscaler", "autoscaler"),
        ("credential.token", "token"),
        (
            "runtime.termination_grace_period",
            "metadata.eas.termination_grace_period",
        ),
    ],
};

/// One item of `storage`.
pub(super) const MOUNT: Schema = Schema {
    read: &["mount_path", "oss.path", "oss.readOnly"],
    objects: &["oss"],
    reported: &[
        ("oss.endpoint", "storage is a local folder"),
        (
            "properties.resource_type",
            "all mounts are plain folders, whatever they were meant for",
        ),
        ("nfs", "only `oss` mounts are turned into folders"),
    ],
    aliases: &[],
};

/// One item of `containers`.
pub(super) const CONTAINER: Schema = Schema {
    read: &["image", "script", "command", "env", "port"],
    objects: &[],
    reported: &[(
        "prepare",
        "packages are not installed, the engine is built in",
    )],
    aliases: &[],
};
