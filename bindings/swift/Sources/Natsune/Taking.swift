import CNatsune

/// What is taken in batches. The batch belongs to this, not to an iterator: leaving a loop loses nothing.
final class Taking: Sendable {
    private struct State {
        var batch: Batch?
        var next = 0
        /// How many the last `take` gave: all of them are handled when more is asked for.
        var taken = 0
        var over = false
    }

    static let most = 256

    let handle: Handle
    private let state = Locked(State())

    init(_ handle: Handle) { self.handle = handle }

    /// The next entry; nil: it ended.
    func next() async throws -> Batch.Entry? {
        var waited = false
        while true {
            // A flood never waits, and is to be left all the same.
            try Task.checkCancellation()
            if let entry = pop() { return entry }
            switch try fill(Taking.most) {
            case .some(true):
                // A flood must not keep the other tasks from running.
                if !waited { await Task.yield() }
            case .some(false):
                return nil
            case .none:
                waited = true
                try await ready()
            }
        }
    }

    /// The same, within a time. Only the waiting is cut short, so that nothing that was popped can be lost.
    func next(timeout: Duration?) async throws -> Batch.Entry? {
        guard let timeout else { return try await next() }
        let clock = ContinuousClock()
        let until = clock.now + min(timeout, .year)
        while true {
            try Task.checkCancellation()
            if let entry = pop() { return entry }
            switch try fill(Taking.most) {
            case .some(true): continue
            case .some(false): return nil
            case .none:
                let left = until - clock.now
                guard left > .zero else { return nil }
                _ = try await within(left) { try await self.ready() }
            }
        }
    }

    /// Up to `most` entries of what is there, waiting for some; nil: it ended.
    func batch(_ most: Int) async throws -> [Batch.Entry]? {
        guard most > 0 else { throw NatsError.invalid("a batch has room for at least one message", field: "max") }
        let most = min(most, Int(UInt32.max))
        while true {
            try Task.checkCancellation()
            var found: [Batch.Entry] = []
            while found.count < most, let entry = pop() { found.append(entry) }
            if !found.isEmpty { return found }
            switch try fill(most) {
            case .some(true): await Task.yield()
            case .some(false): return nil
            case .none: try await ready()
            }
        }
    }

    /// Counters of the library, with what waits in the batch here as not handed out. No take can come in between.
    func stats(_ ask: (UInt64) throws -> NatsSubscriptionStats) throws -> NatsSubscriptionStats {
        try state.with { state in
            var stats = try control { try ask(handle.number) }
            let waiting = UInt64((state.batch?.count ?? 0) - state.next)
            (stats.pending, stats.delivered) = (stats.pending + waiting, stats.delivered - waiting)
            return stats
        }
    }

    /// Forgets what waits here.
    func stop() {
        state.with { $0 = State(over: true) }
        handle.close()
    }

    private func pop() -> Batch.Entry? {
        state.with { state in
            guard let batch = state.batch, state.next < batch.count else { return nil }
            defer { state.next += 1 }
            return batch.entry(state.next)
        }
    }

    /// True: there is something now; false: it ended; nil: nothing yet.
    private func fill(_ most: Int) throws -> Bool? {
        try state.with { state in
            if let batch = state.batch, state.next < batch.count { return true }
            if state.over { return false }
            var buffer = natsune_buffer()
            _ = try checked(natsune_take(handle.number, UInt32(most), 4 << 20, UInt32(state.taken), &buffer))
            let batch = Batch(buffer: NativeBuffer(buffer))
            (state.batch, state.next, state.taken) = (batch, 0, batch.count)
            if batch.count > 0 { return true }
            // Only when nothing came with it: then what was taken before counts as handled too.
            state.over = batch.state == Batch.ended
            return state.over ? false : nil
        }
    }

    private func ready() async throws {
        do {
            try await CompletionQueue.shared.ready(handle.number)
        } catch let error as NatsError where error.code == .closed && state.with({ $0.over }) {
            // Stopped meanwhile, which is an end in good order.
        }
    }
}
