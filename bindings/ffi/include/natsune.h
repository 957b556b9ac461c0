/*
 * Natsune: the hot lane as a C ABI.
 *
 * Rules
 * - Every function may be called from any thread. A pointer with a length must be valid for that length during the call;
 *   nothing is kept. NULL with any length is empty, and absence where "NULL: none" is said.
 * - Handles, ids and queues are numbers from 1 to 2^53 - 1. One that was closed or finished is NATSUNE_CLOSED, never another object.
 * - A negative result is a failure: one of the numbers below. Its text and detail wait for natsune_last_failure on the same
 *   thread. Success is 0 or more. Nothing unwinds across, a panic inside is NATSUNE_INTERNAL.
 * - Subjects and texts are UTF-8 without a NUL at the end.
 * - Owned results come as natsune_buffer and are given back with natsune_buffer_free, once, from any thread.
 *
 * Layouts (little-endian; bindings/conformance/vectors/batch.json has vectors)
 *   headers and fields  repeated: u32 name_len, name, u32 value_len, value
 *   batch    u32 count, u32 state (0 more, 1 idle, 2 ended), u32 entry_size, u32 marks, count entries, bytes
 *   entry    u32 offset (from the start), u32 subject_len, u32 reply_len (0xffffffff: none), u32 headers_len, u32 payload_len,
 *            u32 status (0: none), u32 kind (0 core, 1 JetStream), u32 0; at offset: subject, reply, headers, payload
 *            JetStream entries go on: u64 stream_sequence, u64 consumer_sequence, u64 delivered, u64 pending, i64 timestamp_ns,
 *            u32 stream_len, u32 consumer_len, u32 domain_len, u32 0; those three names follow the payload
 *   failure  u32 retryable, u32 applied (0 no, 1 maybe, 2 yes), u32 code_len, u32 message_len, u32 detail_len, code, message, detail (JSON)
 *   ack      u64 sequence, u32 duplicate, u32 stream_len, u32 domain_len, u32 value_len (0xffffffff: none), stream, domain, value
 */
#ifndef NATSUNE_H
#define NATSUNE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    NATSUNE_INVALID_ARGUMENT = -1,
    NATSUNE_AUTH = -2,
    NATSUNE_PERMISSION = -3,
    NATSUNE_CONNECTION = -4,
    NATSUNE_CLOSED = -5,
    NATSUNE_TIMEOUT = -6,
    NATSUNE_NO_RESPONDERS = -7,
    NATSUNE_NOT_FOUND = -8,
    NATSUNE_ALREADY_EXISTS = -9,
    NATSUNE_CONFLICT = -10,
    NATSUNE_LIMIT_EXCEEDED = -11,
    NATSUNE_BUSY = -12,
    NATSUNE_UNAVAILABLE = -13,
    NATSUNE_UNSUPPORTED = -14,
    NATSUNE_INTEGRITY = -15,
    NATSUNE_SERVER = -16,
    NATSUNE_INTERNAL = -17
};

typedef struct natsune_buffer {
    uint8_t *ptr;
    size_t len;
    size_t cap;
} natsune_buffer;

/* Called from a thread of the library: short, does not block, does not call back into the library. */
typedef void (*natsune_wake)(void *context);

/* Queues. wake(context) comes once each time the queue goes from drained to non-empty, and never after queue_close returned. */
int64_t natsune_queue_new(natsune_wake wake, void *context);
/* Takes at most capacity finished ids and gives how many; when it gave capacity, call again (only an emptied queue is armed). */
int64_t natsune_queue_drain(uint64_t queue, uint64_t *ids, size_t capacity);
void natsune_queue_close(uint64_t queue);
/* Stops the work of an id; it never comes out of the queue afterwards. Unknown ids are ignored. */
void natsune_cancel(uint64_t id);

/* Closes what is behind a handle without waiting (a client flushes for up to 2 s in the background). Again is nothing. */
void natsune_close_handle(uint64_t handle);

/* 0: accepted; 1: accepted, and the buffer is under pressure. reply NULL: none. headers: packed. */
int32_t natsune_publish(uint64_t client, const uint8_t *subject, size_t subject_len, const uint8_t *reply, size_t reply_len,
                        const uint8_t *headers, size_t headers_len, const uint8_t *payload, size_t payload_len);
/* 0: accepted; 1: there is no room below the mark, and nothing was accepted; natsune_start_publish waits for it. */
int32_t natsune_offer(uint64_t client, const uint8_t *subject, size_t subject_len, const uint8_t *reply, size_t reply_len,
                      const uint8_t *headers, size_t headers_len, const uint8_t *payload, size_t payload_len);
/* Copies the message and publishes it when there is room, after at most publish_timeout. Cancelled while it waits, it is not sent.
 * Finish with natsune_finish_number (0). */
int64_t natsune_start_publish(uint64_t queue, uint64_t client, const uint8_t *subject, size_t subject_len, const uint8_t *reply,
                              size_t reply_len, const uint8_t *headers, size_t headers_len, const uint8_t *payload,
                              size_t payload_len);
/* Finish with natsune_finish_number (0). */
int64_t natsune_start_wait_writable(uint64_t queue, uint64_t client);

/* timeout_ms 0: the client's own. Finish with natsune_finish_messages (one message). */
int64_t natsune_start_request(uint64_t queue, uint64_t client, const uint8_t *subject, size_t subject_len, const uint8_t *headers,
                              size_t headers_len, const uint8_t *payload, size_t payload_len, uint64_t timeout_ms);
/* jetstream: a client or a JetStream handle. options: packed fields of PublishOptions. Finish with natsune_finish_ack. */
int64_t natsune_start_js_publish(uint64_t queue, uint64_t jetstream, const uint8_t *subject, size_t subject_len, const uint8_t *headers,
                                 size_t headers_len, const uint8_t *payload, size_t payload_len, const uint8_t *options,
                                 size_t options_len);

/* What is there of a subscription, consumption or reader, without waiting, as a packed batch. done: how many of those taken
 * before were handled since. An end with a failure is this call's failure, after the last message. */
int32_t natsune_take(uint64_t handle, uint32_t max_messages, uint32_t max_bytes, uint32_t done, natsune_buffer *out);
/* Done when natsune_take would give something or an end. Level-triggered. Finish with natsune_finish_number (0). */
int64_t natsune_start_ready(uint64_t queue, uint64_t handle);

/* verb 1 ack, 2 nak (argument: delay in float seconds as text, NULL: none), 3 term (argument: reason, NULL: none), 4 in progress.
 * Gives the new state of the message, which the caller keeps (0: open). */
int32_t natsune_settle(uint64_t client, const uint8_t *ack_subject, size_t ack_subject_len, uint8_t state, uint8_t verb,
                       const uint8_t *argument, size_t argument_len);
/* Finish with natsune_finish_number (the new state). */
int64_t natsune_start_ack_sync(uint64_t queue, uint64_t client, const uint8_t *ack_subject, size_t ack_subject_len, uint8_t state,
                               uint64_t timeout_ms);

/* Results of drained ids, each taken once. */
int64_t natsune_finish_number(uint64_t id);
int32_t natsune_finish_messages(uint64_t id, natsune_buffer *out);
int32_t natsune_finish_ack(uint64_t id, natsune_buffer *out);
int32_t natsune_finish_document(uint64_t id, natsune_buffer *out);

/* The generic control lane: a verb and a JSON document (bindings/README.md lists them). The typed one is generated code. */
int64_t natsune_start(uint64_t queue, uint64_t target, const uint8_t *verb, size_t verb_len, const uint8_t *document,
                      size_t document_len);
int32_t natsune_info(uint64_t handle, const uint8_t *what, size_t what_len, natsune_buffer *out);

/* Takes this thread's last failure, packed. 1: there was one; 0: none, and out is untouched. */
int32_t natsune_last_failure(natsune_buffer *out);
void natsune_buffer_free(natsune_buffer buffer);

/* For tests. */
uint64_t natsune_open_handles(void);
void natsune_inject_panic(void);

#ifdef __cplusplus
}
#endif

#endif
