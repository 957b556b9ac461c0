/// Messages of one subject. Iterating it ends normally after `unsubscribe`, `drain` and `close`; leaving a loop does not end it.
public final class NatsSubscription: AsyncSequence, Sendable {
    /// A message.
    public typealias Element = NatsMessage

    /// The subject that was subscribed to.
    public let subject: String
    private let taking: Taking
    private let client: Handle

    init(_ handle: Handle, _ client: Handle, _ subject: String) {
        (taking, self.client, self.subject) = (Taking(handle), client, subject)
    }

    /// Iterates; several iterators share what comes.
    public struct AsyncIterator: AsyncIteratorProtocol {
        let subscription: NatsSubscription
        /// The next message.
        public mutating func next() async throws -> NatsMessage? {
            try await subscription.taking.next().map { NatsMessage(entry: $0, client: subscription.client) }
        }
    }

    /// Iterates.
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(subscription: self) }

    /// The next message; nil when none came within `timeout`, or when it ended.
    public func next(timeout: Duration? = nil) async throws -> NatsMessage? {
        try await taking.next(timeout: timeout).map { NatsMessage(entry: $0, client: client) }
    }

    /// Lists of what is there, at most `max` each.
    public func batches(max: Int = 256) -> Batches { Batches(subscription: self, max: max) }

    /// See `batches(max:)`.
    public struct Batches: AsyncSequence, AsyncIteratorProtocol, Sendable {
        /// Messages.
        public typealias Element = [NatsMessage]
        let subscription: NatsSubscription
        let max: Int
        /// The next list.
        public mutating func next() async throws -> [NatsMessage]? {
            let client = subscription.client
            return try await subscription.taking.batch(max)?.map { NatsMessage(entry: $0, client: client) }
        }
        /// Iterates.
        public func makeAsyncIterator() -> Batches { self }
    }

    /// Ends it now, or after that many messages in all.
    public func unsubscribe(after: UInt64? = nil) async throws {
        let number = taking.handle.number
        try await CompletionQueue.shared.run { try startUnsubscribe(queue: $0, subscription: number, after: after) }
    }

    /// Ends it when everything that came was handed out and handled.
    public func drain() async throws {
        let number = taking.handle.number
        try await CompletionQueue.shared.run { try startSubscriptionDrain(queue: $0, subscription: number) }
    }

    /// Waits until it ended.
    public func closed() async throws {
        let number = taking.handle.number
        try await CompletionQueue.shared.run { try startSubscriptionClosed(queue: $0, subscription: number) }
    }

    /// Counters in one snapshot.
    public func stats() throws -> NatsSubscriptionStats {
        try taking.stats { try subscriptionStats(subscription: $0) }
    }
}
