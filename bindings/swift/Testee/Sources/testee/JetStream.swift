import Foundation
import Natsune

extension Testee {
    static let jetstreamOps: Set<String> = [
        "js_publish", "js_publish_many", "account_info", "create_stream", "update_stream", "create_or_update_stream",
        "stream_info", "delete_stream", "purge_stream", "create_consumer", "update_consumer", "create_or_update_consumer",
        "consumer", "consumer_info", "delete_consumer", "get_message", "delete_message", "read_stream",
    ]

    func runJetStream(_ op: String, _ makes: String?, _ js: NatsJetStream, _ args: Args) async throws -> Json {
        let stream = js.stream(args.text("stream") ?? "")
        switch op {
        case "js_publish":
            return document(
                try await js.publish(
                    try args.needed("subject"), args.payload, headers: args.headers, id: args.text("id"),
                    expectedStream: args.text("expected_stream"), expectedLastSequence: args.u64("expected_last_sequence"),
                    expectedLastSubjectSequence: args.u64("expected_last_subject_sequence"),
                    expectedLastMessageId: args.text("expected_last_message_id"), timeout: args.span("timeout")))
        case "js_publish_many": return try await publishMany(js, args)
        case "account_info": return document(try await js.accountInfo())
        case "create_stream": return document(try await js.createStream(args.streamConfig).cachedInfo as Any)
        case "update_stream": return document(try await js.updateStream(args.streamConfig).cachedInfo as Any)
        case "create_or_update_stream": return document(try await js.createOrUpdateStream(args.streamConfig).cachedInfo as Any)
        case "stream_info": return document(try await stream.info())
        case "delete_stream": try await js.deleteStream(try args.needed("stream"))
        case "purge_stream":
            let purged = try await stream.purge(
                filter: args.text("filter"), sequence: args.u64("sequence"), keep: args.u64("keep"))
            return Json(["purged": purged])
        case "create_consumer": return made(makes, try await stream.createConsumer(args.consumerConfig))
        case "update_consumer": return made(makes, try await stream.updateConsumer(args.consumerConfig))
        case "create_or_update_consumer": return made(makes, try await stream.createOrUpdateConsumer(args.consumerConfig))
        case "consumer": keep(makes, .consumer(stream.consumer(try args.needed("name"))))
        case "consumer_info": return document(try await stream.consumer(try args.needed("consumer")).info())
        case "delete_consumer": try await stream.deleteConsumer(try args.needed("consumer"))
        case "get_message":
            let found = try await stream.get(
                args.u64("sequence"), lastFor: args.text("last_for"), nextFor: args.text("next_for"))
            return Json(["message": found.map { message($0) }])
        case "delete_message": try await stream.deleteMessage(args.u64("sequence") ?? 0)
        default: keep(makes, .reader(try await stream.read(start: args.u64("start"))))
        }
        return Json()
    }

    func made(_ makes: String?, _ consumer: NatsConsumer) -> Json {
        keep(makes, .consumer(consumer))
        return document(consumer.cachedInfo as Any)
    }

    func publishMany(_ js: NatsJetStream, _ args: Args) async throws -> Json {
        let (subject, count, parallel) = (try args.needed("subject"), args.int("count") ?? 0, args.int("parallel") ?? 1)
        let sequences = try await withThrowingTaskGroup(of: [UInt64].self) { group in
            for lane in 0..<parallel {
                group.addTask {
                    var sequences: [UInt64] = []
                    for number in stride(from: lane, to: count, by: parallel) {
                        sequences.append(try await js.publish(subject, "\(number)").sequence)
                    }
                    return sequences
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        return Json(["count": sequences.count, "first": sequences.min(), "last": sequences.max()])
    }

    func pull(_ op: String, _ makes: String?, _ on: String?, _ args: Args) async throws -> Json {
        guard case .consumer(let consumer) = try object(on) else { throw Foreign("not a consumer") }
        switch op {
        case "consumer_next":
            guard let found = try await consumer.next(timeout: args.span("timeout")) else { return Json(["message": nil]) }
            keep(makes, .jetstream(found))
            return Json(["message": message(found)])
        case "fetch":
            let found = try await consumer.fetch(
                args.u64("max_messages") ?? 1, maxBytes: args.u64("max_bytes"), timeout: args.span("timeout"),
                noWait: args.flag("no_wait") ?? false)
            for (at, each) in found.enumerated() { keep(makes.map { "\($0).\(at)" }, .jetstream(each)) }
            return Json(["messages": found.map { message($0) }])
        default:
            let ahead: NatsConsumer.Ahead? = args.u64("max_messages").map { .messages($0) } ?? args.u64("max_bytes").map { .bytes($0) }
            keep(makes, .consumption(try await consumer.consume(max: ahead)))
            return Json()
        }
    }

    func runBroker(_ op: String, _ on: String?, _ args: Args) async throws -> Json {
        guard case .broker(let broker) = try object(on) else { throw Foreign("not a broker") }
        switch op {
        case "broker_namespace": return document(try await broker.createNamespace(try args.needed("name")))
        case "broker_delete_namespace": try await broker.deleteNamespace(try args.needed("name"))
        case "broker_credentials":
            let made = try await broker.createCredentials(namespace: try args.needed("namespace"), name: try args.needed("name"))
            let file = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString).path
            defer { try? FileManager.default.removeItem(atPath: file) }
            try made.save(to: file)
            return Json(["creds_text": try String(contentsOfFile: file, encoding: .utf8)])
        case "broker_delete_credentials":
            try await broker.deleteCredentials(namespace: try args.needed("namespace"), name: try args.needed("name"))
        case "broker_stop": try await broker.stop()
        default: throw Foreign("unknown operation \(op)")
        }
        return Json()
    }
}
