import Foundation

/// A cursor on a stream, with its own memory of what was handled.
public struct NatsConsumer: Sendable {
    let js: NatsJetStream
    /// Its stream's name.
    public let stream: String
    /// Its name.
    public let name: String
    /// What the server said when this handle was made; nil when it was not asked.
    public let cachedInfo: NatsConsumerInfo?

    private var number: UInt64 { js.handle.number }

    /// Its configuration and state.
    public func info() async throws -> NatsConsumerInfo {
        try await CompletionQueue.shared.run(
            { try startConsumerInfo(queue: $0, jetstream: number, stream: stream, consumer: name) }, finishConsumerInfo)
    }

    /// The next message; nil when none came within `timeout` (5 s).
    public func next(timeout: Duration? = nil) async throws -> NatsJetStreamMessage? {
        let timeout = try timeout.map { try valid($0.seconds, "timeout") }
        let batch = try await CompletionQueue.shared.messages {
            try startNext(queue: $0, jetstream: number, stream: stream, consumer: name, timeout: timeout)
        }
        return messages(batch).first
    }

    /// Up to `maxMessages`; none when none came within `timeout`.
    public func fetch(
        _ maxMessages: UInt64, maxBytes: UInt64? = nil, timeout: Duration? = nil, noWait: Bool = false
    ) async throws -> [NatsJetStreamMessage] {
        let options = try valid(
            NatsFetchOptions(maxMessages: maxMessages, maxBytes: maxBytes, timeout: timeout?.seconds, noWait: noWait))
        let batch = try await CompletionQueue.shared.messages {
            try startFetch(queue: $0, jetstream: number, stream: stream, consumer: name, options: options)
        }
        return messages(batch)
    }

    private func messages(_ batch: Batch) -> [NatsJetStreamMessage] {
        (0..<batch.count).map { NatsJetStreamMessage(NatsMessage(entry: batch.entry($0), client: js.client)) }
    }

    /// How far ahead a consume pulls.
    public enum Ahead: Sendable {
        /// So many messages.
        case messages(UInt64)
        /// So many bytes.
        case bytes(UInt64)
    }

    /// Keeps pulling, 500 messages ahead unless told otherwise. Never ends on a reconnect.
    public func consume(max: Ahead? = nil) async throws -> NatsConsumption {
        var options = NatsConsumeOptions()
        switch max {
        case .messages(let count): options.maxMessages = count
        case .bytes(let count): options.maxBytes = count
        case nil: break
        }
        let all = options
        let handle = try await CompletionQueue.shared.run(
            { try startConsume(queue: $0, jetstream: number, stream: stream, consumer: name, options: all) }, finishHandle)
        return NatsConsumption(Handle(handle), js.client)
    }
}

/// The messages of `consume`. Leaving a loop over it stops it, and so does forgetting it.
public final class NatsConsumption: AsyncSequence, Sendable {
    /// A message to settle.
    public typealias Element = NatsJetStreamMessage

    private let taking: Taking
    private let client: Handle

    init(_ handle: Handle, _ client: Handle) { (taking, self.client) = (Taking(handle), client) }

    /// Iterates.
    public struct AsyncIterator: AsyncIteratorProtocol {
        let loop: Loop
        /// The next message.
        public mutating func next() async throws -> NatsJetStreamMessage? { try await loop.next() }
    }

    /// One loop: it goes away with its iterator.
    final class Loop: Sendable {
        private let consumption: NatsConsumption
        private let ended = Locked(false)

        init(_ consumption: NatsConsumption) { self.consumption = consumption }

        func next() async throws -> NatsJetStreamMessage? {
            let message = try await consumption.advance()
            if message == nil { ended.with { $0 = true } }
            return message
        }

        deinit { if !ended.with({ $0 }) { consumption.stop() } }
    }

    /// Iterates. `next` goes on where no loop is wanted.
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(loop: Loop(self)) }

    private func advance() async throws -> NatsJetStreamMessage? {
        let client = self.client
        return try await taking.next().map { NatsJetStreamMessage(NatsMessage(entry: $0, client: client)) }
    }

    /// The next message; nil when none came within `timeout`, or when it ended.
    public func next(timeout: Duration? = nil) async throws -> NatsJetStreamMessage? {
        let client = self.client
        return try await taking.next(timeout: timeout).map { NatsJetStreamMessage(NatsMessage(entry: $0, client: client)) }
    }

    /// Ends it at once. What was not handed out comes again after the consumer's ack wait.
    public func stop() { taking.stop() }

    /// Pulls no more and hands out what came; the iteration ends then.
    public func drain() async throws {
        let number = taking.handle.number
        try await CompletionQueue.shared.run { try startConsumptionDrain(queue: $0, consumption: number) }
    }
}
