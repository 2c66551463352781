/** Answers of the server, by the type of the question. PROTOCOL.md §11. Any member may be missing, and servers may add others. */
export interface WseRequests {
  health_check: HealthReport;
  health_check_request: HealthReport;
  config_request: ConfigReport;
  config_update: { success?: boolean };
  connection_state_request: ConnectionReport;
  sequence_stats_request: SequenceReport;
  system_status_request: SystemReport;
  /** Message types that the server itself takes; all others are for its application. */
  debug_handlers: { handlers?: string[] };
  /** Whether the connection is encrypted. */
  encryption_request: { enabled?: boolean };
  sync_request: SnapshotReport;
  presence_request: PresenceReport;
  batch_message: BatchReport;
}

/** Times are milliseconds, `timestamp` is RFC 3339. */
export interface HealthReport {
  /** `healthy`, or the server's own word. */
  status?: string;
  /** The server's name for this connection. */
  connection_id?: string;
  server_version?: string;
  timestamp?: string;
  /** Age of the connection. */
  uptime_ms?: number;
}

/** Times are milliseconds, sizes bytes. */
export interface ConfigReport {
  /** Whether large messages to this client are compressed. */
  compression_enabled?: boolean;
  /** Size above which they are. */
  compression_threshold?: number | null;
  encryption_enabled?: boolean;
  protocol_version?: number;
  /** Time between pings of the server. */
  heartbeat_interval?: number;
  /** Silence of the client that ends the connection. */
  idle_timeout?: number;
  /** The largest frame that the server takes. */
  max_message_size?: number;
  /** The largest number of topics of one connection. */
  max_topics?: number;
}

/** Times are milliseconds, `timestamp` is RFC 3339. */
export interface ConnectionReport {
  /** `connected`, or the server's own word. */
  state?: string;
  connection_id?: string;
  /** Who the server takes the client for. */
  user_id?: string;
  encrypted?: boolean;
  /** Age of the connection. */
  uptime_ms?: number;
  /** Frames of this client that the server refused. */
  rejected?: number;
  timestamp?: string;
}

/** The server's view of sequence numbers. */
export interface SequenceReport {
  /** Application messages written to this client so far: the next `seq`. */
  next_sequence?: number;
  /** Topics whose order the server tracks for this client. */
  total_topics?: number;
  /** Messages held back for a gap. */
  total_buffered?: number;
}

/** How the server does. */
export interface SystemReport {
  /** `ok`, or the server's own word. */
  status?: string;
  server_version?: string;
  protocol_version?: number;
  timestamp?: string;
}

/** Comes after the snapshots. */
export interface SnapshotReport {
  /** Whether all snapshots were sent. */
  success?: boolean;
  message?: string;
  snapshots_sent?: string[];
}

/** One who is present, or comes, or goes. */
export interface PresenceChange {
  user_id?: string;
  /** What the user told about itself. */
  data?: unknown;
}

/** Who is present at a topic: a page, in the order of the ids. */
export interface PresenceReport {
  topic?: string;
  /** How many are present; more than are listed where the server lists only some. */
  total?: number;
  members?: PresenceChange[];
  /** Whether there are more: ask again with the last `user_id` as `after`. */
  more?: boolean;
}

/** What became of the messages of a batch: one result for each, in order. */
export interface BatchReport {
  total?: number;
  /** Messages that were read. Whether a publication was allowed is told by a server error, as ever. */
  successful?: number;
  failed?: number;
  results?: { id?: string; success?: boolean; error?: string }[];
}
