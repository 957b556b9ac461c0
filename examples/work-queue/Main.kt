// A worker of a work queue: takes jobs (a file each), answers with size, lines and SHA-256, acknowledges.
//
// `MainKt URL CREDS FOLDER`, where `FOLDER` holds the files that the jobs name.
package io.natsune.examples.workqueue

import io.natsune.Credentials
import io.natsune.JetStream
import io.natsune.NatsException
import io.natsune.withNats
import kotlinx.coroutines.runBlocking
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import kotlinx.serialization.json.long
import kotlinx.serialization.json.put
import java.nio.file.Files
import java.nio.file.Path
import java.security.MessageDigest
import java.util.HexFormat

private const val LANGUAGE = "kotlin"

fun main(args: Array<String>) {
    val (url, creds, folder) = args
    runBlocking { work(url, creds, folder) }
}

private suspend fun work(
    url: String,
    creds: String,
    folder: String,
) = withNats(url, {
    this.creds = Credentials.file(creds)
    name = LANGUAGE
}) { client ->
    client.request("demo.register", LANGUAGE)

    val js = client.jetstream()
    js.consumer("JOBS", "workers").consume(maxMessages = 20).use { jobs ->
        jobs.messages.collect { message ->
            val job = Json.parseToJsonElement(message.text).jsonObject
            val id = job.getValue("id").jsonPrimitive.long
            val content = Files.readAllBytes(Path.of(folder, job.getValue("path").jsonPrimitive.content))
            val answer =
                buildJsonObject {
                    put("id", id)
                    put("language", LANGUAGE)
                    put("size", content.size)
                    put("lines", content.count { it == '\n'.code.toByte() })
                    put("sha256", HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(content)))
                    put("delivered", message.metadata.numDelivered)
                }
            publish(js, answer.toString(), id.toString())
            message.ack()
        }
    }
}

private suspend fun publish(
    js: JetStream,
    answer: String,
    id: String,
) {
    while (true) {
        try {
            // The id makes the answer safe to repeat: the stream keeps the first.
            js.publish("results.kotlin", answer, id = id)
            return
        } catch (failure: NatsException) {
            if (!failure.retryable) throw failure
        }
    }
}
