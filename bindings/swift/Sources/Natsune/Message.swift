import CNatsune
import Foundation

/// A message. Its fields are read from the batch that it came in when they are asked for.
public struct NatsMessage: Sendable, CustomStringConvertible {
    let entry: Batch.Entry
    let client: Handle

    /// Its subject.
    public var subject: String { entry.subject }
    /// Its payload, copied.
    public var data: Data { Data(entry.payload) }
    /// Its payload as text; what is not UTF-8 is replaced.
    public var text: String { String(decoding: entry.payload, as: UTF8.self) }
    /// Its headers, never nil.
    public var headers: NatsHeaders { entry.headers }
    /// Where a reply goes, if anywhere.
    public var reply: String? { entry.reply }
    /// The status code of a message that the server made.
    public var status: Int? { entry.status }

    /// Gives the payload without a copy, for the time of the call.
    public func withUnsafeBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R { try body(entry.payload) }

    /// Publishes to the reply subject; waits under pressure, as `NatsClient.publish` does.
    public func respond(_ payload: some NatsPayload = Data(), headers: NatsHeaders? = nil) async throws {
        try await client.publishWaiting(try replySubject(), nil, headers, payload)
    }

    /// Publishes to the reply subject without waiting; true: the buffer is under pressure.
    @discardableResult
    public func tryRespond(_ payload: some NatsPayload = Data(), headers: NatsHeaders? = nil) throws -> Bool {
        try client.publish(try replySubject(), nil, headers, payload)
    }

    private func replySubject() throws -> String {
        guard let reply else {
            throw NatsError.invalid("the message has no reply subject: nobody waits for an answer")
        }
        return reply
    }

    /// For people.
    public var description: String { "NatsMessage(\(subject), \(entry.payload.count) bytes)" }
}

/// Where a JetStream message stands.
public struct NatsMessageMetadata: Sendable, Hashable {
    /// Its stream.
    public let stream: String
    /// The consumer that delivered it.
    public let consumer: String
    /// The JetStream domain, if any.
    public let domain: String?
    /// Its sequence in the stream.
    public let streamSequence: UInt64
    /// The sequence of this delivery.
    public let consumerSequence: UInt64
    /// How often it was delivered, this time included.
    public let numDelivered: UInt64
    /// How many messages the consumer has yet to deliver.
    public let numPending: UInt64
    /// When the stream stored it, nanoseconds since 1970.
    public let timestampNanos: Int64
    /// When the stream stored it.
    public var timestamp: Date { Date(timeIntervalSince1970: Double(timestampNanos) / 1e9) }
}

/// A message that a consumer delivered: it wants to be settled.
public final class NatsJetStreamMessage: Sendable, CustomStringConvertible {
    /// The message itself.
    public let message: NatsMessage
    private let state = Locked<UInt8>(0)

    init(_ message: NatsMessage) { self.message = message }

    /// Its subject.
    public var subject: String { message.subject }
    /// Its payload, copied.
    public var data: Data { message.data }
    /// Its payload as text.
    public var text: String { message.text }
    /// Its headers, never nil.
    public var headers: NatsHeaders { message.headers }
    /// The subject that acknowledges it.
    public var reply: String? { message.reply }
    /// Where it stands.
    public var metadata: NatsMessageMetadata { message.entry.metadata }

    /// Handled; goes out with the next write. Again is nothing; after another verb it throws `invalidArgument`.
    public func ack() throws { try settle(1, nil) }
    /// Give it again, at once or after `delay`.
    public func nak(delay: Duration? = nil) throws { try settle(2, delay.map { String($0.seconds) }) }
    /// Never give it again.
    public func term(reason: String? = nil) throws { try settle(3, reason) }
    /// Still at it: the consumer's ack wait starts anew.
    public func inProgress() throws { try settle(4, nil) }

    /// Handled, and waits for the server's confirmation. After a time-out it can be repeated.
    public func ackSync(timeout: Duration? = nil) async throws {
        let queue = CompletionQueue.shared
        let milliseconds = try timeout.milliseconds()
        let before = state.with { $0 }
        let subject = message.entry.replyBytes
        let started = natsune_start_ack_sync(
            queue.number, message.client.number, subject.pointer, subject.count, before, milliseconds)
        let id = UInt64(try checked(started))
        try await queue.wait(id)
        let after = try checked(natsune_finish_number(id))
        state.with { $0 = UInt8(truncatingIfNeeded: after) }
    }

    private func settle(_ verb: UInt8, _ argument: String?) throws {
        let subject = message.entry.replyBytes
        try state.with { state in
            let after: Int32
            if let argument {
                after = argument.withPayload {
                    natsune_settle(
                        message.client.number, subject.pointer, subject.count, state, verb, $0.pointer, $0.count)
                }
            } else {
                after = natsune_settle(message.client.number, subject.pointer, subject.count, state, verb, nil, 0)
            }
            state = UInt8(try checked(after))
        }
    }

    /// For people.
    public var description: String { message.description }
}

/// A message as a stream keeps it.
public struct NatsStoredMessage: Sendable {
    let entry: Batch.Entry

    /// Its stream.
    public var stream: String { entry.metadata.stream }
    /// Its subject.
    public var subject: String { entry.subject }
    /// Its sequence in the stream.
    public var sequence: UInt64 { entry.metadata.streamSequence }
    /// When it was stored, nanoseconds since 1970.
    public var timestampNanos: Int64 { entry.metadata.timestampNanos }
    /// Its payload, copied.
    public var data: Data { Data(entry.payload) }
    /// Its payload as text.
    public var text: String { String(decoding: entry.payload, as: UTF8.self) }
    /// Its headers, never nil.
    public var headers: NatsHeaders { entry.headers }
}
