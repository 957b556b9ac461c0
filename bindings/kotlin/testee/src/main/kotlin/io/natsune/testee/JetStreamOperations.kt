package io.natsune.testee

import io.natsune.Broker
import io.natsune.Consumer
import io.natsune.ConsumerConfig
import io.natsune.JetStream
import io.natsune.StreamConfig
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.coroutineScope
import kotlinx.serialization.json.JsonObject
import java.nio.file.Files

private val nothing = JsonObject(emptyMap())

/** The operations of JetStream and of the embedded broker. */
class JetStreamOperations(
    private val testee: Testee,
) {
    private fun stream(args: Args) = StreamConfig("").fill(args.fields("config"))

    private fun consumer(args: Args) = ConsumerConfig().fill(args.fields("config"))

    suspend fun run(
        op: String,
        makes: String?,
        js: JetStream,
        args: Args,
    ): JsonObject {
        val stream = js.stream(args.text("stream").orEmpty())
        when (op) {
            "js_publish" -> return publish(js, args)
            "js_publish_many" -> return publishMany(js, args)
            "account_info" -> return document(js.accountInfo())
            "create_stream" -> return document(js.createStream(stream(args)).cachedInfo)
            "update_stream" -> return document(js.updateStream(stream(args)).cachedInfo)
            "create_or_update_stream" -> return document(js.createOrUpdateStream(stream(args)).cachedInfo)
            "stream_info" -> return document(stream.info())
            "delete_stream" -> js.deleteStream(args.needed("stream"))
            "purge_stream" -> {
                val purged = stream.purge(args.text("filter"), args.long("sequence"), args.long("keep"))
                return json("purged" to purged)
            }
            "create_consumer" -> return made(makes, stream.createConsumer(consumer(args)))
            "update_consumer" -> return made(makes, stream.updateConsumer(consumer(args)))
            "create_or_update_consumer" -> return made(makes, stream.createOrUpdateConsumer(consumer(args)))
            "consumer" -> testee.keep(makes, stream.consumer(args.needed("name")))
            "consumer_info" -> return document(stream.consumer(args.needed("consumer")).info())
            "delete_consumer" -> stream.deleteConsumer(args.needed("consumer"))
            "get_message" -> {
                val found = stream.get(args.long("sequence"), args.text("last_for"), args.text("next_for"))
                return json("message" to found?.let(::message))
            }
            "delete_message" -> stream.deleteMessage(args.long("sequence") ?: 0)
            else -> testee.keep(makes, stream.read(args.long("start")))
        }
        return nothing
    }

    private fun made(
        makes: String?,
        consumer: Consumer,
    ): JsonObject {
        testee.keep(makes, consumer)
        return document(consumer.cachedInfo)
    }

    private suspend fun publish(
        js: JetStream,
        args: Args,
    ): JsonObject =
        document(
            js.publish(
                args.needed("subject"),
                args.payload,
                headers = args.headers,
                id = args.text("id"),
                expectedStream = args.text("expected_stream"),
                expectedLastSequence = args.long("expected_last_sequence"),
                expectedLastSubjectSequence = args.long("expected_last_subject_sequence"),
                expectedLastMessageId = args.text("expected_last_message_id"),
                timeout = args.span("timeout"),
            ),
        )

    private suspend fun publishMany(
        js: JetStream,
        args: Args,
    ): JsonObject {
        val (count, parallel) = listOf("count", "parallel").map { args.int(it) ?: 1 }
        val sequences =
            coroutineScope {
                List(parallel) { lane ->
                    async {
                        (lane until count step parallel).map { js.publish(args.needed("subject"), it.toString()).sequence }
                    }
                }.awaitAll().flatten()
            }
        return json("count" to sequences.size, "first" to sequences.minOrNull(), "last" to sequences.maxOrNull())
    }

    suspend fun pull(
        op: String,
        makes: String?,
        consumer: Consumer,
        args: Args,
    ): JsonObject {
        when (op) {
            "consumer_next" -> {
                val found = consumer.next(args.span("timeout"))
                if (found != null) testee.keep(makes, found)
                return json("message" to found?.let(::message))
            }
            "fetch" -> {
                val found =
                    consumer.fetch(
                        args.long("max_messages") ?: 1,
                        args.long("max_bytes"),
                        args.span("timeout"),
                        args.flag("no_wait"),
                    )
                found.forEachIndexed { at, each -> testee.keep(makes?.let { "$it.$at" }, each) }
                return json("messages" to found.map(::message))
            }
            else -> testee.keep(makes, consumer.consume(args.long("max_messages"), args.long("max_bytes")))
        }
        return nothing
    }

    suspend fun broker(
        op: String,
        broker: Broker,
        args: Args,
    ): JsonObject {
        when (op) {
            "broker_namespace" -> return document(broker.createNamespace(args.needed("name")))
            "broker_delete_namespace" -> broker.deleteNamespace(args.text("namespace") ?: args.needed("name"))
            "broker_credentials" -> {
                val made = broker.createCredentials(args.needed("namespace"), args.needed("name"))
                val folder = Files.createTempDirectory("testee")
                val file = folder.resolve("user.creds")
                made.save(file)
                val text = Files.readString(file)
                Files.delete(file)
                Files.delete(folder)
                return json("creds_text" to text)
            }
            "broker_delete_credentials" -> broker.deleteCredentials(args.needed("namespace"), args.needed("name"))
            "broker_stop" -> broker.stop()
            else -> throw Foreign("unknown operation $op")
        }
        return nothing
    }

    companion object {
        val names =
            setOf(
                "js_publish",
                "js_publish_many",
                "account_info",
                "create_stream",
                "update_stream",
                "create_or_update_stream",
                "stream_info",
                "delete_stream",
                "purge_stream",
                "create_consumer",
                "update_consumer",
                "create_or_update_consumer",
                "consumer",
                "consumer_info",
                "delete_consumer",
                "get_message",
                "delete_message",
                "read_stream",
            )
    }
}
