import CNatsune
import Foundation

/// A connection to a NATS server that mends itself.
public final class NatsClient: Sendable {
    let handle: Handle

    init(_ handle: Handle) { self.handle = handle }

    /// Connects to one of `servers` (`nats://localhost:4222` when none is given). Completes when the server answered, so wrong
    /// credentials fail here.
    public static func connect(_ servers: String..., options: NatsConnectOptions = .init()) async throws -> NatsClient {
        try await connect(servers, options: options)
    }

    /// The same with a list.
    public static func connect(_ servers: [String], options: NatsConnectOptions = .init()) async throws -> NatsClient {
        var options = options
        if !servers.isEmpty { options.servers = servers }
        let all = try valid(options)
        let number = try await CompletionQueue.shared.run({ try startConnect(queue: $0, options: all) }, finishHandle)
        return NatsClient(Handle(number))
    }

    /// Copies the message into the outbound buffer; waits while that is over its mark, at most `publishTimeout` (5 s). Cancelled
    /// while it waits, the message is not sent.
    public func publish(
        _ subject: String, _ payload: some NatsPayload = Data(), reply: String? = nil, headers: NatsHeaders? = nil
    ) async throws {
        try await handle.publishWaiting(subject, reply, headers, payload)
    }

    /// Accepts the message at once, or throws. True: the buffer is under pressure, `waitWritable` before going on.
    @discardableResult
    public func tryPublish(
        _ subject: String, _ payload: some NatsPayload = Data(), reply: String? = nil, headers: NatsHeaders? = nil
    ) throws -> Bool {
        try handle.publish(subject, reply, headers, payload)
    }

    /// Waits until the outbound buffer is below its mark.
    public func waitWritable() async throws { try await handle.waitWritable() }

    /// Subscribes. Completes when the server confirmed it, so a missing right is thrown here. The inbox keeps 524,288 messages
    /// and 64 MiB unless told otherwise; what does not fit is dropped (`whenFull`) and counted.
    public func subscribe(
        _ subject: String, queue: String? = nil, pendingMessages: UInt64? = nil, pendingBytes: UInt64? = nil,
        whenFull: NatsWhenFull? = nil, maxMessages: UInt64? = nil, confirm: Bool? = nil
    ) async throws -> NatsSubscription {
        let options = NatsSubscribeOptions(
            subject: subject, queue: queue, pendingMessages: pendingMessages, pendingBytes: pendingBytes,
            whenFull: whenFull?.rawValue, maxMessages: maxMessages, confirm: confirm)
        let client = handle.number
        let number = try await CompletionQueue.shared.run(
            { try startSubscribe(queue: $0, client: client, options: options) }, finishHandle)
        return NatsSubscription(Handle(number), handle, subject)
    }

    /// Sends a request and waits for its reply; `noResponders` at once when nobody listens.
    public func request(
        _ subject: String, _ payload: some NatsPayload = Data(), headers: NatsHeaders? = nil, timeout: Duration? = nil
    ) async throws -> NatsMessage {
        let queue = CompletionQueue.shared
        let milliseconds = try timeout.milliseconds()
        let started = withCall(subject, headers, payload) { subject, headers, payload in
            natsune_start_request(
                queue.number, handle.number, subject.pointer, subject.count, headers.pointer, headers.count,
                payload.pointer, payload.count, milliseconds)
        }
        let batch = try await queue.finishMessages(UInt64(try checked(started)))
        return NatsMessage(entry: batch.entry(0), client: handle)
    }

    /// One round trip to the server; what was published before it has been processed. Gives what became of it.
    @discardableResult
    public func flush() async throws -> NatsPublishCounts {
        let number = handle.number
        return try await CompletionQueue.shared.run({ try startFlush(queue: $0, client: number) }, finishCounts)
    }

    /// The time of one round trip.
    public func rtt() async throws -> Duration {
        let number = handle.number
        return .seconds(try await CompletionQueue.shared.run({ try startRtt(queue: $0, client: number) }, finishRtt))
    }

    /// Hands out what was received, flushes what was published, then closes.
    public func drain() async throws {
        let number = handle.number
        try await CompletionQueue.shared.run { try startDrain(queue: $0, client: number) }
    }

    /// Closes at once. Again is nothing; everything else afterwards throws `closed`.
    public func close() async throws {
        let number = handle.number
        try await CompletionQueue.shared.run { try startClose(queue: $0, client: number) }
    }

    /// Waits until the client is closed for good, and says why (nil: it was asked to).
    public func closed() async throws -> String? {
        let number = handle.number
        return try await CompletionQueue.shared.run({ try startClosed(queue: $0, client: number) }, finishClosed)
    }

    /// Leaves the connection and makes a new one.
    public func reconnect() async throws {
        let number = handle.number
        try await CompletionQueue.shared.run { try startReconnect(queue: $0, client: number) }
    }

    /// What happens to the connection from this call on.
    public func events() async throws -> NatsEvents {
        let number = handle.number
        return NatsEvents(
            Handle(try await CompletionQueue.shared.run({ try startEvents(queue: $0, client: number) }, finishHandle)))
    }

    /// Counters, in one snapshot.
    public func stats() throws -> NatsStats { try control { try clientStats(client: handle.number) } }

    /// What the server last said of itself.
    public var serverInfo: NatsServerInfo { get throws { try control { try clientServerInfo(client: handle.number) } } }

    /// The largest payload, headers included, that the server takes; bytes.
    public var maxPayload: Int { get throws { Int(try control { try clientMaxPayload(client: handle.number) }) } }

    /// A fresh reply subject.
    public func newInbox() throws -> String { try control { try clientNewInbox(client: handle.number) } }

    /// The JetStream of this connection.
    public func jetstream(domain: String? = nil, prefix: String? = nil) throws -> NatsJetStream {
        if domain == nil && prefix == nil { return NatsJetStream(client: handle, handle: handle) }
        let number = try control { try openJetstream(client: handle.number, domain: domain, prefix: prefix) }
        return NatsJetStream(client: handle, handle: Handle(number))
    }
}

/// What an inbox does with a message for which there is no room.
public enum NatsWhenFull: String, Sendable {
    /// The message that arrives is dropped.
    case dropNew = "drop_new"
    /// The oldest message that waits is dropped.
    case dropOld = "drop_old"
}

/// Connects, runs `body` and leaves: what was accepted is sent, for at most 2 s.
public func withNatsClient<R: Sendable>(
    _ servers: String..., options: NatsConnectOptions = .init(),
    body: (NatsClient) async throws -> R
) async throws -> R {
    let client = try await NatsClient.connect(servers, options: options)
    do {
        let result = try await body(client)
        await leave(client)
        return result
    } catch {
        await leave(client)
        throw error
    }
}

/// In a task of its own: the caller's may be cancelled, and what was accepted is to be sent all the same.
private func leave(_ client: NatsClient) async {
    await Task {
        _ = try? await within(.seconds(2)) { try await client.flush() }
        try? await client.close()
    }.value
}

/// What happens to a connection; ends when the client is closed.
public final class NatsEvents: AsyncSequence, Sendable {
    /// An event.
    public typealias Element = NatsEvent

    private let handle: Handle
    private let waiting = Locked<[NatsEvent]>([])

    init(_ handle: Handle) { self.handle = handle }

    /// Iterates.
    public struct AsyncIterator: AsyncIteratorProtocol {
        let events: NatsEvents
        /// The next event.
        public mutating func next() async throws -> NatsEvent? { try await events.next() }
    }

    /// Iterates.
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(events: self) }

    private func next() async throws -> NatsEvent? {
        while true {
            if let event = waiting.with({ $0.isEmpty ? nil : $0.removeFirst() }) { return event }
            let taken = try control { try takeEvents(events: handle.number, max: 64) }
            waiting.with { $0 += taken.events }
            if taken.events.isEmpty {
                if taken.ended { return nil }
                try await CompletionQueue.shared.ready(handle.number)
            }
        }
    }
}
