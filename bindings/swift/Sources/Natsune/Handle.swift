import CNatsune
import Foundation

/// A handle of the library, closed with the last reference.
final class Handle: Sendable {
    let number: UInt64

    init(_ number: UInt64) { self.number = number }

    deinit { natsune_close_handle(number) }

    func close() { natsune_close_handle(number) }

    /// True: accepted under pressure.
    func publish(_ subject: String, _ reply: String?, _ headers: NatsHeaders?, _ payload: some NatsPayload) throws -> Bool {
        let accepted = withCall(subject, headers, payload) { subject, headers, payload in
            optional(reply) { reply in
                natsune_publish(
                    number, subject.pointer, subject.count, reply?.pointer, reply?.count ?? 0, headers.pointer, headers.count,
                    payload.pointer, payload.count)
            }
        }
        return try checked(accepted) == 1
    }

    /// Accepts the message when there is room, after at most `publishTimeout`.
    func publishWaiting(
        _ subject: String, _ reply: String?, _ headers: NatsHeaders?, _ payload: some NatsPayload
    ) async throws {
        let queue = CompletionQueue.shared
        let full = withCall(subject, headers, payload) { subject, headers, payload in
            optional(reply) { reply in
                natsune_offer(
                    number, subject.pointer, subject.count, reply?.pointer, reply?.count ?? 0, headers.pointer, headers.count,
                    payload.pointer, payload.count)
            }
        }
        guard try checked(full) == 1 else { return }
        let waiting = withCall(subject, headers, payload) { subject, headers, payload in
            optional(reply) { reply in
                natsune_start_publish(
                    queue.number, number, subject.pointer, subject.count, reply?.pointer, reply?.count ?? 0, headers.pointer,
                    headers.count, payload.pointer, payload.count)
            }
        }
        let id = UInt64(try checked(waiting))
        try await queue.wait(id)
        _ = try checked(natsune_finish_number(id))
    }

    func waitWritable() async throws {
        let queue = CompletionQueue.shared
        let id = UInt64(try checked(natsune_start_wait_writable(queue.number, number)))
        try await queue.wait(id)
        _ = try checked(natsune_finish_number(id))
    }
}

/// A value behind a lock.
final class Locked<Value>: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Value

    init(_ value: Value) { self.value = value }

    func with<R>(_ body: (inout Value) throws -> R) rethrows -> R {
        lock.lock()
        defer { lock.unlock() }
        return try body(&value)
    }
}

extension Duration {
    var seconds: Double {
        let (seconds, attoseconds) = components
        return Double(seconds) + Double(attoseconds) * 1e-18
    }
}

extension Duration? {
    /// 0: the default of whatever takes it. What is shorter than a millisecond is one, what is longer than a year a year.
    func milliseconds() throws -> UInt64 {
        guard let self else { return 0 }
        if self < .zero { throw NatsError.invalid("a time-out is not negative", field: "timeout") }
        return UInt64(max(1, (min(self, .year).seconds * 1000).rounded()))
    }
}

extension Duration {
    /// As long as anything here waits: clocks cannot count all that a duration can hold.
    static let year = Duration.seconds(365 * 86_400)
}

/// Runs `body` for at most `limit`; nil when the time was up. What `body` waits for is cancelled then, and what it gives at
/// that moment is gone: it must only wait.
func within<R: Sendable>(_ limit: Duration, _ body: @escaping @Sendable () async throws -> R) async throws -> R? {
    try await withThrowingTaskGroup(of: R?.self) { group in
        group.addTask { try await body() }
        group.addTask {
            try await Task.sleep(for: min(limit, .year))
            return nil
        }
        defer { group.cancelAll() }
        return try await group.next() ?? nil
    }
}

/// For tests of the wall between the languages.
public enum NatsTesting {
    /// The next call into the library from this thread panics inside it, and must come back as the error `internal`.
    public static func injectPanic() { natsune_inject_panic() }
}
