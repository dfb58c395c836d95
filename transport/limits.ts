/** Every bound of the protocol, in one place. Both sides hold to the same numbers; they change with the version. */

export const kib = 1024;
export const mib = 1024 * kib;

/** The header of a request or of a response. */
export const maxHeaderBytes = 64 * kib;
/** A method's name. */
export const maxMethodBytes = 255;
/** The payload of one DATA frame on the bulk lane; elsewhere `maxSmallDataBytes`, so that nothing waits long. */
export const maxDataBytes = 1 * mib;
export const maxSmallDataBytes = 64 * kib;
/** One notice. Larger things (snapshots) are calls with bodies. */
export const maxNoticeBytes = 16 * mib;
/** Code and message of an error together. */
export const maxErrorBytes = 4 * kib;
/** Any frame before a lane has proved itself. */
export const maxHandshakeBytes = 512;

/** Requests at work on a lane; what comes beyond waits at the caller. */
export const maxActiveRequests = 1024;
/** Calls that may wait at the caller for their turn on a lane. */
export const maxWaitingCalls = 8192;

/** Body bytes a side may send before it is granted any. */
export const initialWindowBytes = 64 * kib;
/** Body bytes a request may have granted and not consumed, on the bulk lane and on the others. */
export const bulkWindowBytes = 2 * mib;
export const smallWindowBytes = 512 * kib;
/**
 * What all bodies that come to one socket may have granted beyond their initial windows, in equal shares: all of a
 * server's, and all of a process's HTTP/3 connections together (the library gives them one socket). Measured: at 2 MiB
 * a small request waits 4 ms behind eight bulk ones, at 16 MiB 20 to 100 ms, and then packets overflow the socket's
 * buffer (4 MiB at most on a usual Linux, less where it isn't raised) and throughput falls by half.
 */
export const receiveBudgetBytes = 2 * mib;

/** Body bytes taken from a source and not yet written, per request. */
export const readAheadBytes = 1 * mib;
/**
 * Frames other than DATA that may wait for a peer that doesn't read; beyond it the lane ends. Above what all requests
 * of a lane can come to with the largest headers, so that only a breach of the rules gets there.
 */
export const maxQueuedControlBytes = 96 * mib;
/** Notices that may wait to be written. */
export const maxQueuedNoticeBytes = 32 * mib;

/** How often a lane says that it lives, and how long a silence means what. */
export const heartbeatMs = 250;
export const suspectAfterMs = 1000;
export const downAfterMs = 5000;
/** A server ends a lane that has been silent for so long. */
export const serverSilenceMs = 10_000;

/** A lane must be authenticated within this time. */
export const handshakeMs = 5000;
/** Lanes that may be between opening and authentication on one server; the oldest makes room. */
export const maxUnauthenticatedLanes = 256;
/** Authenticated lanes on one server, and those of one peer among them (a dialer has three). */
export const maxLanes = 4096;
export const maxLanesPerPeer = 96;

/** Time for a driver to connect; `auto` gives HTTP/3 this long before it tries HTTP/2. */
export const connectMs = 2000;
/** Pauses between attempts to connect: doubled from the first to the last, less up to half by chance. */
export const firstBackoffMs = 50;
export const lastBackoffMs = 1000;

/** Pauses between attempts of a connection that fell back to get the better driver: doubled from the first to the last. */
export const firstUpgradeMs = 15_000;
export const lastUpgradeMs = 600_000;

/** How often deadlines are looked at. */
export const sweepMs = 20;
/** How long a closing server waits for handlers that were told to stop. */
export const closeGraceMs = 2000;
