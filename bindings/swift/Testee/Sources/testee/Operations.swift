import Foundation
import Natsune

/// What the runner named.
enum Object: Sendable {
    case client(NatsClient, Collected)
    case subscription(NatsSubscription)
    case consumption(NatsConsumption)
    case reader(NatsStreamReader)
    case consumer(NatsConsumer)
    case message(NatsMessage)
    case jetstream(NatsJetStreamMessage)
    case broker(NatsBroker)
}

/// The events of one client.
actor Collected {
    private var events: [NatsEvent] = []

    func add(_ event: NatsEvent) { events.append(event) }

    func take(_ kind: String) -> NatsEvent? {
        guard let at = events.firstIndex(where: { $0.kind == kind }) else { return nil }
        return events.remove(at: at)
    }
}

/// Any message that an iteration gives.
enum Found: Sendable {
    case core(NatsMessage)
    case jetstream(NatsJetStreamMessage)
    case stored(NatsStoredMessage)

    var text: String {
        let text =
            switch self {
            case .core(let message): message.text
            case .jetstream(let message): message.text
            case .stored(let message): message.text
            }
        return text.trimmingCharacters(in: .whitespaces)
    }

    var json: [String: Any] {
        switch self {
        case .core(let found): message(found)
        case .jetstream(let found): message(found)
        case .stored(let found): message(found)
        }
    }
}

extension Testee {
    func iterate(_ name: String?, _ body: (Found) async throws -> Bool) async throws -> Bool {
        switch try object(name) {
        case .subscription(let all): for try await each in all where try await !body(.core(each)) { return false }
        case .consumption(let all):
            // Leaving a loop would stop it, and the next iteration is to go on.
            while let each = try await all.next() { if try await !body(.jetstream(each)) { return false } }
        case .reader(let all): for try await each in all where try await !body(.stored(each)) { return false }
        default: throw Foreign("nothing to iterate")
        }
        return true
    }

    func client(_ on: String?) throws -> NatsClient {
        guard case .client(let client, _) = try object(on) else { throw Foreign("not a client") }
        return client
    }

    func run(_ op: String, _ makes: String?, _ on: String?, _ args: Args) async throws -> Json {
        switch op {
        case "connect":
            let client = try await NatsClient.connect([], options: args.connectOptions)
            let (collected, events) = (Collected(), try await client.events())
            Task { for try await event in events { await collected.add(event) } }
            keep(makes, .client(client, collected))
        case "next_event":
            guard case .client(_, let collected) = try object(on) else { throw Foreign("not a client") }
            let deadline = ContinuousClock.now + (args.span("timeout") ?? .zero)
            while ContinuousClock.now < deadline {
                if let event = await collected.take(try args.needed("kind")) { return document(event) }
                try await Task.sleep(for: .milliseconds(2))
            }
            throw Foreign("no event came")
        case "subscribe":
            let subscription = try await client(on).subscribe(
                try args.needed("subject"), queue: args.text("queue"), pendingMessages: args.u64("pending_messages"),
                pendingBytes: args.u64("pending_bytes"), whenFull: args.text("when_full").flatMap(NatsWhenFull.init),
                maxMessages: args.u64("max_messages"), confirm: args.flag("confirm"))
            keep(makes, .subscription(subscription))
        case "next": return try await next(makes, on, args)
        case "collect": return try await collect(on, args)
        case "batches", "unsubscribe", "sub_drain", "sub_stats", "serve":
            guard case .subscription(let subscription) = try object(on) else { throw Foreign("not a subscription") }
            return try await runSubscription(op, subscription, args)
        case "respond":
            guard case .message(let message) = try object(on) else { throw Foreign("not a message") }
            try await message.respond(args.payload)
        case "settle":
            guard case .jetstream(let message) = try object(on) else { throw Foreign("not a JetStream message") }
            try await settle(message, try args.needed("verb"), args)
        case "consumer_next", "fetch", "consume": return try await pull(op, makes, on, args)
        case "consume_stop", "consume_drain":
            guard case .consumption(let consumption) = try object(on) else { throw Foreign("not a consumption") }
            if op == "consume_stop" { consumption.stop() } else { try await consumption.drain() }
        case "broker_start":
            let broker = try await NatsBroker.start(args.brokerOptions)
            keep(makes, .broker(broker))
            return Json(["url": try broker.url, "monitor_url": try broker.monitorUrl])
        case "panic":
            NatsTesting.injectPanic()
            let some = try anyClient()
            if args.text("export") == "publish" { try some.tryPublish("panic") } else { try await some.flush() }
        case _ where op.hasPrefix("broker_"): return try await runBroker(op, on, args)
        case _ where Testee.jetstreamOps.contains(op):
            return try await runJetStream(op, makes, try client(on).jetstream(), args)
        default: return try await runClient(op, try client(on), args)
        }
        return Json()
    }

    func runClient(_ op: String, _ client: NatsClient, _ args: Args) async throws -> Json {
        switch op {
        case "close": try await client.close()
        case "drain": try await client.drain()
        case "reconnect": try await client.reconnect()
        case "closed": return Json(["reason": try await client.closed()])
        case "flush": return document(try await client.flush())
        case "rtt": return Json(["seconds": Double(try await client.rtt().components.attoseconds) / 1e18])
        case "stats": return document(try client.stats())
        case "server_info": return document(try client.serverInfo)
        case "max_payload": return Json(["value": try client.maxPayload])
        case "new_inbox": return Json(["value": try client.newInbox()])
        case "wait_writable": try await client.waitWritable()
        case "publish":
            try await client.publish(
                try args.needed("subject"), args.payload, reply: args.text("reply"), headers: args.headers)
        case "try_publish":
            let pressed = try client.tryPublish(
                try args.needed("subject"), args.payload, reply: args.text("reply"), headers: args.headers)
            return Json(["accepted": pressed ? "pressure" : "ok"])
        case "publish_many":
            let (from, size, count) = (args.int("from") ?? 0, args.int("size") ?? 0, args.int("count") ?? 0)
            for number in from..<from + count {
                let text = "\(number)"
                let data = text + String(repeating: " ", count: max(0, size - text.count))
                if args.flag("try") == true {
                    try client.tryPublish(try args.needed("subject"), data)
                } else {
                    try await client.publish(try args.needed("subject"), data)
                }
            }
            return Json(["published": count])
        case "request":
            let reply = try await client.request(
                try args.needed("subject"), args.payload, headers: args.headers, timeout: args.span("timeout"))
            return Json(["message": message(reply)])
        case "requests": return try await requests(client, args)
        default: throw Foreign("unknown operation \(op)")
        }
        return Json()
    }

    func requests(_ client: NatsClient, _ args: Args) async throws -> Json {
        let (subject, timeout) = (try args.needed("subject"), args.span("timeout"))
        let (count, parallel) = (args.int("count") ?? 0, args.int("parallel") ?? 1)
        let results = try await withThrowingTaskGroup(of: [String].self) { group in
            for lane in 0..<parallel {
                group.addTask {
                    var results: [String] = []
                    for number in stride(from: lane, to: count, by: parallel) {
                        do {
                            let reply = try await client.request(subject, "\(number)", timeout: timeout)
                            results.append(reply.text == "\(number)" ? "ok" : "mismatched")
                        } catch let error as NatsError {
                            results.append(error.code.rawValue)
                        }
                    }
                    return results
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        var errors: [String: Int] = [:]
        for result in results where result != "ok" && result != "mismatched" { errors[result, default: 0] += 1 }
        let number = { (word: String) in results.filter { $0 == word }.count }
        return Json(["ok": number("ok"), "mismatched": number("mismatched"), "errors": errors])
    }

    func runSubscription(_ op: String, _ subscription: NatsSubscription, _ args: Args) async throws -> Json {
        switch op {
        case "unsubscribe": try await subscription.unsubscribe(after: args.u64("after"))
        case "sub_drain": try await subscription.drain()
        case "sub_stats": return document(try subscription.stats())
        case "batches":
            var (count, largest, ended) = (0, 0, true)
            for try await batch in subscription.batches(max: args.int("max") ?? 256) {
                (count, largest) = (count + batch.count, max(largest, batch.count))
                if count >= args.int("count") ?? .max {
                    ended = false
                    break
                }
            }
            return Json(["count": count, "largest": largest, "ended": ended])
        default:
            let (fixed, headers) = (args.has("data") ? args.payload : nil, args.headers)
            Task {
                for try await message in subscription { try await message.respond(fixed ?? message.data, headers: headers) }
            }
        }
        return Json()
    }

    func next(_ makes: String?, _ on: String?, _ args: Args) async throws -> Json {
        let timeout = args.span("timeout")
        switch try object(on) {
        case .subscription(let subscription):
            guard let found = try await subscription.next(timeout: timeout) else { return Json(["message": nil]) }
            keep(makes, .message(found))
            return Json(["message": message(found)])
        case .consumption(let consumption):
            guard let found = try await consumption.next(timeout: timeout) else { return Json(["message": nil]) }
            keep(makes, .jetstream(found))
            return Json(["message": message(found)])
        default: throw Foreign("nothing to take the next of")
        }
    }

    func collect(_ on: String?, _ args: Args) async throws -> Json {
        let (count, box) = (args.int("count") ?? .max, Box())
        let all = Task {
            try await iterate(on) { found in
                if case .jetstream(let message) = found, let verb = args.text("settle") { try await settle(message, verb, args) }
                return box.add(found) < count
            }
        }
        let limit = Task {
            try await Task.sleep(for: args.span("timeout") ?? .seconds(10))
            all.cancel()
        }
        var ended = false
        do { ended = try await all.value } catch is CancellationError {}
        limit.cancel()
        let found = box.found
        if args.flag("brief") != true { return Json(["messages": found.map(\.json), "ended": ended]) }
        let texts = found.map(\.text)
        let ordered = zip(texts, texts.dropFirst()).allSatisfy { Int($0).map { $0 + 1 } == Int($1) && Int($1) != nil }
        return Json([
            "count": found.count, "ordered": ordered, "ended": ended, "first": texts.first, "last": texts.last,
        ])
    }

    func settle(_ message: NatsJetStreamMessage, _ verb: String, _ args: Args) async throws {
        switch verb {
        case "ack": try message.ack()
        case "nak": try message.nak(delay: args.span("delay"))
        case "term": try message.term(reason: args.text("reason"))
        case "in_progress": try message.inProgress()
        case "ack_sync": try await message.ackSync()
        default: throw Foreign("no verb is called \(verb)")
        }
    }
}

/// What a collect found so far.
final class Box: @unchecked Sendable {
    private let lock = NSLock()
    private var all: [Found] = []

    func add(_ found: Found) -> Int {
        lock.withLock {
            all.append(found)
            return all.count
        }
    }

    var found: [Found] { lock.withLock { all } }
}
