// A worker of a work queue: takes jobs (a file each), answers with size, lines and SHA-256, acknowledges.
//
// `work-queue URL CREDS FOLDER`, where `FOLDER` holds the files that the jobs name.

import Foundation
import Natsune

let language = "swift"

struct Job: Decodable {
    let id: Int
    let path: String
}

struct Answer: Encodable {
    let id: Int
    let language: String
    let size: Int
    let lines: Int
    let sha256: String
    let delivered: UInt64
}

let arguments = CommandLine.arguments
guard arguments.count == 4 else { fatalError("usage: work-queue URL CREDS FOLDER") }
var options = NatsConnectOptions(creds: .file(arguments[2]))
options.name = language

try await withNatsClient(arguments[1], options: options) { client in
    _ = try await client.request("demo.register", language)

    let js = try client.jetstream()
    for try await message in try await js.consumer("JOBS", "workers").consume(max: .messages(20)) {
        let job = try JSONDecoder().decode(Job.self, from: message.data)
        let content = try Data(contentsOf: URL(fileURLWithPath: arguments[3]).appendingPathComponent(job.path))
        let answer = Answer(
            id: job.id, language: language, size: content.count, lines: content.filter { $0 == 0x0A }.count,
            sha256: sha256(content), delivered: message.metadata.numDelivered)
        try await publish(js, try JSONEncoder().encode(answer), id: String(job.id))
        try message.ack()
    }
}

func publish(_ js: NatsJetStream, _ answer: Data, id: String) async throws {
    while true {
        do {
            // The id makes the answer safe to repeat: the stream keeps the first.
            _ = try await js.publish("results.swift", answer, id: id)
            return
        } catch let error as NatsError where error.retryable {
            continue
        }
    }
}
