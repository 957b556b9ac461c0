package io.natsune

import io.natsune.internal.Completions
import io.natsune.internal.Handle
import io.natsune.internal.Native
import io.natsune.internal.checked
import io.natsune.internal.generated.finishAccountInfo
import io.natsune.internal.generated.finishStreamInfo
import io.natsune.internal.generated.finishUnit
import io.natsune.internal.generated.startAccountInfo
import io.natsune.internal.generated.startCreateOrUpdateStream
import io.natsune.internal.generated.startCreateStream
import io.natsune.internal.generated.startDeleteStream
import io.natsune.internal.generated.startUpdateStream
import io.natsune.internal.packFields
import io.natsune.internal.seconds
import io.natsune.internal.text
import io.natsune.internal.u32
import io.natsune.internal.u64
import java.lang.ref.Reference
import kotlin.time.Duration

/** The JetStream of a connection. Made by [Client.jetstream], without asking the server. */
public class JetStream internal constructor(
    internal val client: Handle,
    internal val handle: Handle,
) : AutoCloseable {
    /** Publishes and waits for the stream's ack. With an [id] the stream stores it once, however often it is sent. */
    public suspend fun publish(
        subject: String,
        payload: ByteArray = ByteArray(0),
        headers: Headers? = null,
        id: String? = null,
        expectedStream: String? = null,
        expectedLastSequence: Long? = null,
        expectedLastSubjectSequence: Long? = null,
        expectedLastSubject: String? = null,
        expectedLastMessageId: String? = null,
        ttl: Duration? = null,
        timeout: Duration? = null,
    ): PublishAck {
        val options =
            listOfNotNull(
                id?.let { "id" to it },
                expectedStream?.let { "expected_stream" to it },
                expectedLastSequence?.let { "expected_last_sequence" to it.toString() },
                expectedLastSubjectSequence?.let { "expected_last_subject_sequence" to it.toString() },
                expectedLastSubject?.let { "expected_last_subject" to it },
                expectedLastMessageId?.let { "expected_last_message_id" to it },
                ttl?.let { "ttl" to it.seconds() },
                timeout?.let { "timeout" to it.seconds() },
            )
        val packed = headers?.packed()
        val number =
            Native.startJsPublish(Completions.queue, handle.number, subject, packed, payload, packFields(options))
        Completions.await(checked(number))
        Reference.reachabilityFence(handle)
        return unpackAck(checked(Native.finishAck(number)))
    }

    /** The same with a text. */
    public suspend fun publish(
        subject: String,
        payload: String,
        headers: Headers? = null,
        id: String? = null,
        expectedStream: String? = null,
        expectedLastSequence: Long? = null,
        expectedLastSubjectSequence: Long? = null,
        expectedLastSubject: String? = null,
        expectedLastMessageId: String? = null,
        ttl: Duration? = null,
        timeout: Duration? = null,
    ): PublishAck =
        publish(
            subject,
            payload.encodeToByteArray(),
            headers,
            id,
            expectedStream,
            expectedLastSequence,
            expectedLastSubjectSequence,
            expectedLastSubject,
            expectedLastMessageId,
            ttl,
            timeout,
        )

    /** What the account uses and may use. */
    public suspend fun accountInfo(): AccountInfo = handle.run(::startAccountInfo, ::finishAccountInfo)

    /** Makes a stream. The same again succeeds; another of that name is `AlreadyExists`. */
    public suspend fun createStream(config: StreamConfig): Stream =
        made(handle.run({ queue, js -> startCreateStream(queue, js, config) }, ::finishStreamInfo))

    /** The same: `createStream("JOBS") { subjects("jobs.>") }`. */
    public suspend fun createStream(
        name: String,
        config: StreamConfig.() -> Unit,
    ): Stream = createStream(StreamConfig(name).apply(config))

    /** Changes a stream. */
    public suspend fun updateStream(config: StreamConfig): Stream =
        made(handle.run({ queue, js -> startUpdateStream(queue, js, config) }, ::finishStreamInfo))

    /** Makes or changes a stream. */
    public suspend fun createOrUpdateStream(config: StreamConfig): Stream =
        made(handle.run({ queue, js -> startCreateOrUpdateStream(queue, js, config) }, ::finishStreamInfo))

    private fun made(info: StreamInfo): Stream = Stream(this, info.config.name, info)

    /** Deletes a stream with its messages. */
    public suspend fun deleteStream(name: String): Unit = handle.run({ queue, js -> startDeleteStream(queue, js, name) }, ::finishUnit)

    /** A handle, made without asking the server. */
    public fun stream(name: String): Stream = Stream(this, name, null)

    /** A handle, made without asking the server. */
    public fun consumer(
        stream: String,
        name: String,
    ): Consumer = Consumer(this, stream, name, null)

    /** Gives back what it keeps; the client lives on. Not closing it is fine too. */
    override fun close() {
        if (handle !== client) handle.close()
    }
}

internal fun unpackAck(bytes: ByteArray): PublishAck {
    val sizes = List(3) { bytes.u32(12 + it * 4) }
    val domain = 24 + sizes[0]
    return PublishAck(
        stream = bytes.text(24, sizes[0]),
        sequence = bytes.u64(0),
        duplicate = bytes.u32(8) == 1,
        domain = bytes.text(domain, sizes[1]).ifEmpty { null },
        value = if (sizes[2] < 0) null else bytes.text(domain + sizes[1], sizes[2]),
    )
}
