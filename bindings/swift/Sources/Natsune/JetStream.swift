import CNatsune
import Foundation

/// The JetStream of a connection. Made by `client.jetstream()`, without asking the server.
public struct NatsJetStream: Sendable {
    let client: Handle
    let handle: Handle

    /// Publishes and waits for the stream's ack. With an `id` the stream stores it once, however often it is sent.
    public func publish(
        _ subject: String, _ payload: some NatsPayload = Data(), headers: NatsHeaders? = nil, id: String? = nil,
        expectedStream: String? = nil, expectedLastSequence: UInt64? = nil, expectedLastSubjectSequence: UInt64? = nil,
        expectedLastMessageId: String? = nil, ttl: Duration? = nil, timeout: Duration? = nil
    ) async throws -> NatsPublishAck {
        var options: [UInt8] = []
        func add(_ name: String, _ value: String?) { if let value { options.packField(name, value) } }
        add("id", id)
        add("expected_stream", expectedStream)
        add("expected_last_sequence", expectedLastSequence.map { String($0) })
        add("expected_last_subject_sequence", expectedLastSubjectSequence.map { String($0) })
        add("expected_last_message_id", expectedLastMessageId)
        add("ttl", ttl.map { String($0.seconds) })
        add("timeout", timeout.map { String($0.seconds) })
        let queue = CompletionQueue.shared
        let started = withCall(subject, headers, payload) { subject, headers, payload in
            options.withUnsafeBytes { options in
                natsune_start_js_publish(
                    queue.number, handle.number, subject.pointer, subject.count, headers.pointer, headers.count,
                    payload.pointer, payload.count, options.pointer, options.count)
            }
        }
        let number = UInt64(try checked(started))
        try await queue.wait(number)
        var buffer = natsune_buffer()
        _ = try checked(natsune_finish_ack(number, &buffer))
        return NatsPublishAck(packed: NativeBuffer(buffer))
    }

    /// What the account uses and may use.
    public func accountInfo() async throws -> NatsAccountInfo {
        let number = handle.number
        return try await CompletionQueue.shared.run(
            { try startAccountInfo(queue: $0, jetstream: number) }, finishAccountInfo)
    }

    /// Makes a stream. The same again succeeds; another of that name is `alreadyExists`.
    public func createStream(_ config: NatsStreamConfig) async throws -> NatsStream {
        let (number, config) = (handle.number, try valid(config))
        return try await made { try startCreateStream(queue: $0, jetstream: number, config: config) }
    }

    /// Changes a stream.
    public func updateStream(_ config: NatsStreamConfig) async throws -> NatsStream {
        let (number, config) = (handle.number, try valid(config))
        return try await made { try startUpdateStream(queue: $0, jetstream: number, config: config) }
    }

    /// Makes or changes a stream.
    public func createOrUpdateStream(_ config: NatsStreamConfig) async throws -> NatsStream {
        let (number, config) = (handle.number, try valid(config))
        return try await made { try startCreateOrUpdateStream(queue: $0, jetstream: number, config: config) }
    }

    private func made(_ start: (UInt64) throws -> UInt64) async throws -> NatsStream {
        let info = try await CompletionQueue.shared.run(start, finishStreamInfo)
        return NatsStream(js: self, name: info.config.name, cachedInfo: info)
    }

    /// Deletes a stream with its messages.
    public func deleteStream(_ name: String) async throws {
        let number = handle.number
        try await CompletionQueue.shared.run { try startDeleteStream(queue: $0, jetstream: number, stream: name) }
    }

    /// A handle, made without asking the server.
    public func stream(_ name: String) -> NatsStream { NatsStream(js: self, name: name, cachedInfo: nil) }

    /// A handle, made without asking the server.
    public func consumer(_ stream: String, _ name: String) -> NatsConsumer {
        NatsConsumer(js: self, stream: stream, name: name, cachedInfo: nil)
    }
}

extension NatsPublishAck {
    init(packed: NativeBuffer) {
        let none = 0xffff_ffff
        let sizes = [packed.u32(12), packed.u32(16), packed.u32(20)]
        let domain = 24 + sizes[0]
        let value = domain + sizes[1]
        self.init(
            stream: packed.text(24, sizes[0]), sequence: packed.u64(0), duplicate: packed.u32(8) == 1,
            domain: sizes[1] == 0 ? nil : packed.text(domain, sizes[1]),
            value: sizes[2] == none ? nil : packed.text(value, sizes[2]))
    }
}

/// A stream: messages in their order, kept.
public struct NatsStream: Sendable {
    let js: NatsJetStream
    /// Its name.
    public let name: String
    /// What the server said when this handle was made; nil when it was not asked.
    public let cachedInfo: NatsStreamInfo?

    private var number: UInt64 { js.handle.number }

    /// Its configuration and state.
    public func info() async throws -> NatsStreamInfo {
        try await CompletionQueue.shared.run(
            { try startStreamInfo(queue: $0, jetstream: number, stream: name) }, finishStreamInfo)
    }

    /// Deletes messages: all, of a subject, below a sequence, or all but the last `keep`. Gives how many.
    @discardableResult
    public func purge(filter: String? = nil, sequence: UInt64? = nil, keep: UInt64? = nil) async throws -> UInt64 {
        try await CompletionQueue.shared.run(
            {
                try startPurgeStream(
                    queue: $0, jetstream: number, stream: name, filter: filter, sequence: sequence, keep: keep)
            }, finishPurged)
    }

    /// One message by its sequence, or the last of a subject, or the next of a subject from `sequence` on.
    public func get(
        _ sequence: UInt64? = nil, lastFor: String? = nil, nextFor: String? = nil
    ) async throws -> NatsStoredMessage? {
        let batch = try await CompletionQueue.shared.messages {
            try startGetMessage(
                queue: $0, jetstream: number, stream: name, sequence: sequence, lastFor: lastFor, nextFor: nextFor)
        }
        return batch.count == 0 ? nil : NatsStoredMessage(entry: batch.entry(0))
    }

    /// Deletes one message.
    public func deleteMessage(_ sequence: UInt64) async throws {
        try await CompletionQueue.shared.run {
            try startDeleteMessage(queue: $0, jetstream: number, stream: name, sequence: sequence)
        }
    }

    /// Reads the stream in order from `start` on; ends at the end that it has by then.
    public func read(start: UInt64? = nil) async throws -> NatsStreamReader {
        let handle = try await CompletionQueue.shared.run(
            { try startReadStream(queue: $0, jetstream: number, stream: name, start: start) }, finishHandle)
        return NatsStreamReader(Handle(handle))
    }

    /// Makes a consumer. The same again succeeds; another of that name is `alreadyExists`.
    public func createConsumer(_ config: NatsConsumerConfig) async throws -> NatsConsumer {
        let config = try valid(config)
        return try await made { try startCreateConsumer(queue: $0, jetstream: number, stream: name, config: config) }
    }

    /// Changes a consumer.
    public func updateConsumer(_ config: NatsConsumerConfig) async throws -> NatsConsumer {
        let config = try valid(config)
        return try await made { try startUpdateConsumer(queue: $0, jetstream: number, stream: name, config: config) }
    }

    /// Makes or changes a consumer.
    public func createOrUpdateConsumer(_ config: NatsConsumerConfig) async throws -> NatsConsumer {
        let config = try valid(config)
        return try await made { try startCreateOrUpdateConsumer(queue: $0, jetstream: number, stream: name, config: config) }
    }

    private func made(_ start: (UInt64) throws -> UInt64) async throws -> NatsConsumer {
        let info = try await CompletionQueue.shared.run(start, finishConsumerInfo)
        return NatsConsumer(js: js, stream: name, name: info.name, cachedInfo: info)
    }

    /// Deletes a consumer.
    public func deleteConsumer(_ consumer: String) async throws {
        try await CompletionQueue.shared.run {
            try startDeleteConsumer(queue: $0, jetstream: number, stream: name, consumer: consumer)
        }
    }

    /// A handle, made without asking the server.
    public func consumer(_ consumer: String) -> NatsConsumer { js.consumer(name, consumer) }
}

/// A stream being read to its end.
public final class NatsStreamReader: AsyncSequence, Sendable {
    /// A stored message.
    public typealias Element = NatsStoredMessage
    private let taking: Taking

    init(_ handle: Handle) { taking = Taking(handle) }

    /// Iterates.
    public struct AsyncIterator: AsyncIteratorProtocol {
        let reader: NatsStreamReader
        /// The next message.
        public mutating func next() async throws -> NatsStoredMessage? {
            try await reader.taking.next().map { NatsStoredMessage(entry: $0) }
        }
    }

    /// Iterates.
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(reader: self) }
}
