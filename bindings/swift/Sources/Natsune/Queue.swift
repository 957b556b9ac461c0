import CNatsune
import Dispatch
import Foundation

/// The completion queue of this process: started operations are finished ids here, and continuations there.
///
/// The library calls `wake` once when the queue goes from drained to non-empty; a serial dispatch queue drains it.
final class CompletionQueue: @unchecked Sendable {
    static let shared = CompletionQueue()

    let number: UInt64
    private let lock = NSLock()
    private let drains = DispatchQueue(label: "io.natsune.completions")
    private var waiting: [UInt64: UnsafeContinuation<Void, any Error>] = [:]
    /// Finished before anybody waited, and cancelled before anybody waited.
    private var early: Set<UInt64> = []
    private var cancelled: Set<UInt64> = []

    private init() {
        let opened = natsune_queue_new({ _ in CompletionQueue.woken() }, nil)
        number = UInt64(max(opened, 0))
    }

    private static func woken() {
        // Neither blocks nor calls back: the drain runs on a thread of ours.
        shared.drains.async { shared.drain() }
    }

    private func drain() {
        var ids = [UInt64](repeating: 0, count: 256)
        while true {
            var ready: [UnsafeContinuation<Void, any Error>] = []
            lock.lock()
            // Under the lock, as the cancelling is: a cancelled id is then either never drained or already here.
            let count = Int(natsune_queue_drain(number, &ids, ids.count))
            for id in ids[0..<max(count, 0)] {
                if let continuation = waiting.removeValue(forKey: id) {
                    ready.append(continuation)
                } else {
                    early.insert(id)
                }
            }
            lock.unlock()
            for continuation in ready { continuation.resume() }
            if count < ids.count { return }
        }
    }

    /// Waits until `id` is finished. Cancelling the task cancels the operation and leaves nothing behind.
    func wait(_ id: UInt64) async throws {
        try await withTaskCancellationHandler {
            try await withUnsafeThrowingContinuation { (continuation: UnsafeContinuation<Void, any Error>) in
                lock.lock()
                if cancelled.remove(id) != nil {
                    lock.unlock()
                    continuation.resume(throwing: CancellationError())
                } else if early.remove(id) != nil {
                    lock.unlock()
                    continuation.resume()
                } else {
                    waiting[id] = continuation
                    lock.unlock()
                }
            }
        } onCancel: {
            cancel(id)
        }
        // Cancelled between its end and here: the result was given back to the library.
        if forget(id) { throw CancellationError() }
    }

    private func cancel(_ id: UInt64) {
        lock.lock()
        natsune_cancel(id)
        let continuation = waiting.removeValue(forKey: id)
        if continuation == nil {
            // Not waiting yet, or finished and not looked at: its wait finds it cancelled.
            early.remove(id)
            cancelled.insert(id)
        }
        lock.unlock()
        continuation?.resume(throwing: CancellationError())
    }

    private func forget(_ id: UInt64) -> Bool {
        lock.lock()
        defer { lock.unlock() }
        return cancelled.remove(id) != nil
    }

    /// How many ids are remembered here: for tests.
    var remembered: Int {
        lock.lock()
        defer { lock.unlock() }
        return waiting.count + early.count + cancelled.count
    }

    /// Waits until there is something to take of a handle, or an end. Whatever it says, the next take says it again.
    func ready(_ handle: UInt64) async throws {
        let id = UInt64(try checked(natsune_start_ready(number, handle)))
        try await wait(id)
        _ = natsune_finish_number(id)
    }

    /// Starts an operation of the generated lane, waits, and takes its result.
    func run<T>(_ start: (UInt64) throws -> UInt64, _ finish: (UInt64) throws -> T) async throws -> T {
        let id = try control { try start(number) }
        try await wait(id)
        return try control { try finish(id) }
    }

    /// The same for operations that give nothing.
    func run(_ start: (UInt64) throws -> UInt64) async throws {
        let id = try control { try start(number) }
        try await wait(id)
        _ = try checked(natsune_finish_number(id))
    }

    /// The same for operations that give messages.
    func messages(_ start: (UInt64) throws -> UInt64) async throws -> Batch {
        let id = try control { try start(number) }
        return try await finishMessages(id)
    }

    /// Waits for an id of the hot lane that gives messages.
    func finishMessages(_ id: UInt64) async throws -> Batch {
        try await wait(id)
        var buffer = natsune_buffer()
        _ = try checked(natsune_finish_messages(id, &buffer))
        return Batch(buffer: NativeBuffer(buffer))
    }
}
