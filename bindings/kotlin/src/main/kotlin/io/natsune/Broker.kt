package io.natsune

import io.natsune.internal.Completions
import io.natsune.internal.Handle
import io.natsune.internal.Native
import io.natsune.internal.generated.brokerMonitorUrl
import io.natsune.internal.generated.brokerUrl
import io.natsune.internal.generated.finishCredentials
import io.natsune.internal.generated.finishCredentialsList
import io.natsune.internal.generated.finishHandle
import io.natsune.internal.generated.finishNamespace
import io.natsune.internal.generated.finishNamespaces
import io.natsune.internal.generated.finishUnit
import io.natsune.internal.generated.startBroker
import io.natsune.internal.generated.startBrokerStop
import io.natsune.internal.generated.startCreateCredentials
import io.natsune.internal.generated.startCreateNamespace
import io.natsune.internal.generated.startDeleteCredentials
import io.natsune.internal.generated.startDeleteNamespace
import io.natsune.internal.generated.startListCredentials
import io.natsune.internal.generated.startListNamespaces

/** A NATS-compatible server in this process: for tests and small installations. */
public class Broker private constructor(
    private val handle: Handle,
) : AutoCloseable {
    /** Where clients connect. */
    public val url: String get() = handle.ask(::brokerUrl)

    /** Where monitoring answers, if anywhere. */
    public val monitorUrl: String? get() = handle.ask(::brokerMonitorUrl)

    /** Makes a namespace. */
    public suspend fun createNamespace(name: String): NamespaceInfo =
        handle.run({ queue, broker -> startCreateNamespace(queue, broker, name) }, ::finishNamespace)

    /** All namespaces. */
    public suspend fun namespaces(): List<NamespaceInfo> = handle.run(::startListNamespaces, ::finishNamespaces)

    /** Deletes a namespace with its streams and credentials; its clients are disconnected. */
    public suspend fun deleteNamespace(name: String): Unit =
        handle.run({ queue, broker -> startDeleteNamespace(queue, broker, name) }, ::finishUnit)

    /** Makes credentials: all rights in their namespace, none elsewhere. They are given out this once. */
    public suspend fun createCredentials(
        namespace: String,
        name: String,
    ): Credentials {
        val made =
            handle.run(
                { queue, broker -> startCreateCredentials(queue, broker, namespace, name) },
                ::finishCredentials,
            )
        return Credentials.text(made.credsText.orEmpty())
    }

    /** What credentials a namespace has, without their secrets. */
    public suspend fun credentials(namespace: String): List<CredentialsInfo> =
        handle.run({ queue, broker -> startListCredentials(queue, broker, namespace) }, ::finishCredentialsList)

    /** Deletes credentials; their clients are disconnected. */
    public suspend fun deleteCredentials(
        namespace: String,
        name: String,
    ): Unit = handle.run({ queue, broker -> startDeleteCredentials(queue, broker, namespace, name) }, ::finishUnit)

    /** Ends it; what was acknowledged is on disk. Again is nothing. */
    public suspend fun stop(): Unit = handle.run(::startBrokerStop, ::finishUnit)

    /** Ends it without waiting. Again is nothing. */
    override fun close(): Unit = handle.close()

    /** Starts them. */
    public companion object {
        /**
         * Starts one. Without options: in memory, on a free port of the loopback, open to all here. With `storeDir` streams
         * are durable; with `namespaces` every client needs credentials.
         */
        public suspend fun start(options: BrokerOptions.() -> Unit = {}): Broker {
            val all = BrokerOptions().apply(options)
            return Broker(Handle(Completions.run({ startBroker(it, all) }, ::finishHandle), "a broker"))
        }
    }
}

/** For tests of the wall between the languages. */
public object NatsTesting {
    /** The next call into the library from this thread panics inside it, and must come back as `Internal`. */
    public fun injectPanic(): Unit = Native.injectPanic()

    /** How many things of the library are open: tests look for leaks with it. */
    public val openHandles: Long get() = Native.openHandles()
}
